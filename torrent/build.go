package torrent

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// PieceLength returns the piece length for a file of that many octets (spec
// §1.2): 16 KiB, doubled while there would be 1,024 pieces or more, at most 4 MiB.
func PieceLength(length int64) int64 {
	p := int64(16 << 10)
	for p < 4<<20 && length >= 1024*p {
		p *= 2
	}
	return p
}

// Hasher makes the info dictionary of one file from its octets, written to it in
// order, and its SHA-256 in the same pass. The piece length depends on the length,
// so the length must be known: NewHasher's.
type Hasher struct {
	length int64
	piece  int64
	n      int64 // octets so far
	left   int64 // octets until the running piece is full
	one    hash.Hash
	whole  hash.Hash
	pieces []byte
}

// NewHasher returns a Hasher for a file of length octets.
func NewHasher(length int64) *Hasher {
	p := PieceLength(length)
	h := &Hasher{length: length, piece: p, left: p, one: sha1.New(), whole: sha256.New()}
	h.pieces = make([]byte, 0, (length+p-1)/p*20)
	return h
}

// Write takes the file's next octets. It never fails.
func (h *Hasher) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += 64 << 10 { // both hashes of a part while it is in the cache
		part := b[at:min(at+64<<10, len(b))]
		h.whole.Write(part)
		h.pieceHashes(part)
	}
	return len(b), nil
}

// pieceHashes is the half of Write that fills the list of SHA-1.
func (h *Hasher) pieceHashes(b []byte) {
	h.n += int64(len(b))
	for len(b) > 0 {
		part := b[:min(int64(len(b)), h.left)]
		h.one.Write(part)
		b = b[len(part):]
		if h.left -= int64(len(part)); h.left == 0 {
			h.endPiece()
		}
	}
}

func (h *Hasher) endPiece() {
	h.pieces = h.one.Sum(h.pieces)
	h.one.Reset()
	h.left = h.piece
}

// Finish returns the info dictionary with that name, which must be a cleaned
// one, and the SHA-256. It fails if other than length octets were written.
func (h *Hasher) Finish(name string) (*Info, Sum, error) {
	if h.n != h.length {
		return nil, Sum{}, fmt.Errorf("hash %s: %d octets instead of %d", name, h.n, h.length)
	}
	if h.left != h.piece {
		h.endPiece()
	}
	raw := singleInfo(name, h.length, h.piece, h.pieces)
	return &Info{
		Hash: sha1.Sum(raw), Raw: raw, Name: name, PieceLength: h.piece, NumPieces: len(h.pieces) / 20,
		Length: h.length, Single: true, Files: []File{{Path: name, Length: h.length}},
	}, Sum(h.whole.Sum(nil)), nil
}

// singleInfo writes the dictionary of spec §1.1: these four keys and no other.
func singleInfo(name string, length, piece int64, pieces []byte) []byte {
	b := make([]byte, 0, len(pieces)+len(name)+96)
	b = appendInt(appendText(append(b, 'd'), "length"), length)
	b = appendText(appendText(b, "name"), name)
	b = appendInt(appendText(b, "piece length"), piece)
	b = appendText(appendText(b, "pieces"), pieces)
	return append(b, 'e')
}

// BuildInfo reads r, of length octets, once.
func BuildInfo(r io.Reader, length int64, name string) (*Info, Sum, error) {
	h := NewHasher(length)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, r, make([]byte, 256<<10)); err != nil {
		return nil, Sum{}, fmt.Errorf("hash %s: %w", name, err)
	}
	return h.Finish(name)
}

// Metainfo is what stands in a .torrent file beside the info dictionary.
type Metainfo struct {
	Info     *Info
	Trackers []string // announce URLs
	WebSeeds []string // url-list (BEP 19)
}

// Encode returns the .torrent file.
func (m Metainfo) Encode() []byte {
	b := []byte{'d'}
	if len(m.Trackers) > 0 {
		b = appendText(appendText(b, "announce"), m.Trackers[0])
		b = append(appendText(b, "announce-list"), 'l')
		for _, t := range m.Trackers {
			b = append(appendText(append(b, 'l'), t), 'e') // BEP 12: a tier each
		}
		b = append(b, 'e')
	}
	b = append(appendText(b, "info"), m.Info.Raw...)
	if len(m.WebSeeds) > 0 {
		b = append(appendText(b, "url-list"), 'l')
		for _, w := range m.WebSeeds {
			b = appendText(b, w)
		}
		b = append(b, 'e')
	}
	return append(b, 'e')
}

// MetainfoMax bounds a .torrent file: the info dictionary, and trackers and web seeds beside it.
func (l Limits) MetainfoMax() int64 { return int64(l.orDefault().Info) + 1<<20 }

// rawInfo finds the info dictionary of a .torrent file and judges nothing in it.
func rawInfo(b []byte, lim Limits) (file, info bval, err error) {
	if max := lim.MetainfoMax(); int64(len(b)) > max {
		return file, info, badInfo("file of %d octets, the limit is %d", len(b), max)
	}
	file, _, err = parseBencode(bytes.TrimRight(b, "\r\n")) // editors and mailers leave a line's end behind
	if err != nil {
		return file, info, badInfo("%v", err)
	}
	info, ok := file.get("info", 'd')
	if !ok {
		return file, info, badInfo("has no info dictionary")
	}
	return file, info, nil
}

// ParseMetainfo reads a .torrent file.
func ParseMetainfo(b []byte, lim Limits) (*Metainfo, error) {
	d, info, err := rawInfo(b, lim)
	if err != nil {
		return nil, err
	}
	in, err := takeInfo(info.raw, lim)
	if err != nil {
		return nil, err
	}
	m := &Metainfo{Info: in}
	m.Trackers = addURLs(m.Trackers, d.text("announce"))
	tiers, _ := d.get("announce-list", 'l')
	for _, tier := range tiers.sub {
		for _, t := range tier.sub {
			m.Trackers = addURLs(m.Trackers, string(t.str))
		}
	}
	m.WebSeeds = addURLs(m.WebSeeds, d.text("url-list"))
	seeds, _ := d.get("url-list", 'l')
	for _, s := range seeds.sub {
		m.WebSeeds = addURLs(m.WebSeeds, string(s.str))
	}
	return m, nil
}
