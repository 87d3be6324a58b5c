package torrent

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"strings"
)

// Limits bound what the net may say of a torrent (spec §4). A zero field takes
// the default named there.
type Limits struct {
	Info     int   // octets of the info dictionary; default 4 MiB
	Pieces   int   // default 65,536
	Files    int   // default 10,000
	Depth    int   // components of a path; default 16
	Path     int   // octets of a path; default 1,024
	Total    int64 // octets of all files; default 64 GiB (torrent.max_size)
	MinPiece int64 // piece length; default 16 KiB
	MaxPiece int64 // default 16 MiB
}

func (l Limits) orDefault() Limits {
	set := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	set(&l.Info, 4<<20)
	set(&l.Pieces, 65536)
	set(&l.Files, 10000)
	set(&l.Depth, 16)
	set(&l.Path, 1024)
	for _, d := range [...]struct {
		p *int64
		n int64
	}{{&l.Total, 64 << 30}, {&l.MinPiece, 16 << 10}, {&l.MaxPiece, 16 << 20}} {
		if *d.p == 0 {
			*d.p = d.n
		}
	}
	return l
}

// ErrMetadata is wrapped by every error that means a torrent's metadata is
// malformed or over a limit: it will never be taken.
var ErrMetadata = errors.New("torrent metadata refused")

func badInfo(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMetadata, fmt.Sprintf(format, args...))
}

// File is one file of a torrent.
type File struct {
	Path   string // components joined by "/"; for a single-file torrent its name
	Other  string // the path that "path.utf-8" or "name.utf-8" says, where it is another one
	Offset int64  // in the torrent
	Length int64
	Pad    bool // BEP 47: fills up to a piece's border, shown to nobody
}

// Info is a checked info dictionary. Its paths are for comparison and display;
// they never name anything on a disk.
type Info struct {
	Hash        Infohash
	Raw         []byte // the dictionary's octets
	Name        string
	Other       string // as in File
	PieceLength int64
	NumPieces   int
	Length      int64 // of all files
	Single      bool
	Private     bool // BEP 27: peers come from its own trackers only
	Files       []File
}

// ParseInfo reads and checks an info dictionary of version 1 (BEP 3). Hybrids
// (BEP 52) are refused: the engine does not survive all of them. Its errors wrap
// ErrMetadata.
func ParseInfo(raw []byte, lim Limits) (*Info, error) {
	lim = lim.orDefault()
	if len(raw) > lim.Info {
		return nil, badInfo("info dictionary of %d octets, the limit is %d", len(raw), lim.Info)
	}
	d, _, err := parseBencode(raw)
	if err != nil {
		return nil, badInfo("%v", err)
	}
	if d.kind != 'd' {
		return nil, badInfo("is no dictionary")
	}
	if v, ok := d.get("meta version", 'i'); ok && v.num != 1 {
		return nil, badInfo("version %d: hybrids and version 2 are not taken, make it as version 1 (spec/torrent.md 1.6 says why)", v.num)
	}
	in := &Info{Hash: sha1.Sum(raw), Raw: raw, Name: d.text("name")}
	if v, ok := d.get("private", 'i'); ok {
		in.Private = v.num == 1
	}
	if name := d.text("name.utf-8"); name != in.Name && checkComponent(name, lim) == nil {
		in.Other = name
	}
	if err := in.readFiles(d, lim); err != nil {
		return nil, err
	}
	return in, in.checkPieces(d, lim)
}

func (in *Info) checkPieces(d bval, lim Limits) error {
	pl, _ := d.get("piece length", 'i')
	if in.PieceLength = pl.num; pl.num < lim.MinPiece || pl.num > lim.MaxPiece || pl.num&(pl.num-1) != 0 {
		return badInfo("piece length %d, powers of two from %d to %d are taken", pl.num, lim.MinPiece, lim.MaxPiece)
	}
	pieces, ok := d.get("pieces", 's')
	if !ok {
		return badInfo("has no pieces of version 1")
	}
	n := (in.Length + pl.num - 1) / pl.num
	if n > int64(lim.Pieces) {
		return badInfo("%d pieces, the limit is %d", n, lim.Pieces)
	}
	if int64(len(pieces.str)) != n*20 {
		return badInfo("%d octets of piece hashes for %d pieces", len(pieces.str), n)
	}
	in.NumPieces = int(n)
	return nil
}

func (in *Info) readFiles(d bval, lim Limits) error {
	if err := checkComponent(in.Name, lim); err != nil {
		return err
	}
	list, multi := d.get("files", 'l')
	length, single := d.get("length", 'i')
	if multi == single {
		return badInfo("needs either files or length")
	}
	if single {
		in.Single = true
		return in.addFile(File{Path: in.Name, Other: in.Other, Length: length.num}, lim)
	}
	if len(list.sub) == 0 || len(list.sub) > lim.Files {
		return badInfo("%d files, 1 to %d are taken", len(list.sub), lim.Files)
	}
	seen := make(map[string]bool, len(list.sub))
	for _, f := range list.sub {
		path, err := filePath(f, "path", lim)
		if err != nil {
			return err
		}
		size, ok := f.get("length", 'i')
		if !ok {
			return badInfo("a file has no length")
		}
		pad := strings.Contains(f.text("attr"), "p")
		if seen[path] && !pad {
			return badInfo("the path %.80q occurs twice", path)
		}
		seen[path] = true
		if err := in.addFile(File{Path: path, Other: otherPath(f, path, lim), Length: size.num, Pad: pad}, lim); err != nil {
			return err
		}
	}
	return nil
}

// otherPath reads the key by which some programs say a path in UTF-8, beside one in
// an encoding of their own; libtorrent then takes only that. A bad one is passed over:
// nothing here depends on it.
func otherPath(f bval, path string, lim Limits) string {
	other, err := filePath(f, "path.utf-8", lim)
	if err != nil || other == path {
		return ""
	}
	return other
}

func filePath(f bval, key string, lim Limits) (string, error) {
	parts, ok := f.get(key, 'l')
	if !ok || len(parts.sub) == 0 || len(parts.sub) > lim.Depth {
		return "", badInfo("a path of %d components, 1 to %d are taken", len(parts.sub), lim.Depth)
	}
	var names []string
	for _, c := range parts.sub {
		if c.kind != 's' {
			return "", badInfo("a path's component is no string")
		}
		if err := checkComponent(string(c.str), lim); err != nil {
			return "", err
		}
		names = append(names, string(c.str))
	}
	path := strings.Join(names, "/")
	if len(path) > lim.Path {
		return "", badInfo("a path of %d octets, the limit is %d", len(path), lim.Path)
	}
	return path, nil
}

// checkComponent refuses what no URL path of ours can mean. Everything else is
// carried: it is compared, and escaped where it is shown.
func checkComponent(s string, lim Limits) error {
	switch {
	case s == "" || s == "." || s == "..":
		return badInfo("a file is named %q", s)
	case strings.ContainsAny(s, "/\\\x00"):
		return badInfo("a file's name %.80q holds a separator or NUL", s)
	case len(s) > lim.Path:
		return badInfo("a file's name has %d octets, the limit is %d", len(s), lim.Path)
	}
	return nil
}

func (in *Info) addFile(f File, lim Limits) error {
	if f.Length < 0 || f.Length > lim.Total-in.Length {
		return badInfo("a length of %d: in all 0 to %d are taken", f.Length, lim.Total)
	}
	f.Offset = in.Length
	in.Files = append(in.Files, f)
	in.Length += f.Length
	return nil
}

// Find returns the index of the file of that path, or -1. For torrents of many
// files the torrent's name may stand in front, as web seeds have it (BEP 19).
func (in *Info) Find(path string) int {
	i := in.find(path)
	if in.Single {
		return i
	}
	for _, name := range [...]string{in.Name, in.Other} {
		rest, ok := strings.CutPrefix(path, name+"/")
		switch {
		case i >= 0 || name == "":
		case ok:
			i = in.find(rest)
		case path == name && len(in.Files) == 1: // libtorrent asks so for the one file of a folder
			i = 0
		}
	}
	return i
}

// find looks for a path as it stands, then in its other spelling.
func (in *Info) find(path string) int {
	other := -1
	for i, f := range in.Files {
		switch {
		case f.Pad || path == "":
		case f.Path == path:
			return i
		case f.Other == path && other < 0:
			other = i
		}
	}
	return other
}

// Folder says whether there is a file below that path; "" is the root. A final
// slash does not matter.
func (in *Info) Folder(path string) bool {
	path = strings.TrimSuffix(path, "/")
	if path == "" {
		return true
	}
	for _, f := range in.Files {
		if strings.HasPrefix(f.Path, path+"/") && !f.Pad {
			return true
		}
	}
	return false
}

// Piece returns the SHA-1 that piece i must have.
func (in *Info) Piece(i int) (h [20]byte) {
	d, _, err := parseBencode(in.Raw)
	if err != nil {
		return h
	}
	p, _ := d.get("pieces", 's')
	copy(h[:], p.str[i*20:])
	return h
}
