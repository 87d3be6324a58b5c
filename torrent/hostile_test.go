package torrent

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"
)

// hostileFiles returns metainfo files that lie, break or overload, by name: those
// of testdata (ours, and some of libtorrent's tests, whose licence lies there), and
// those that are too large to be kept.
func hostileFiles(t testing.TB) map[string][]byte {
	out := map[string][]byte{}
	dirs := []string{"testdata/hostile", "testdata/libtorrent"}
	if more := os.Getenv("LITFASS_TORRENTS"); more != "" { // a larger collection: only the laws are checked
		dirs = append(dirs, filepath.SplitList(more)...)
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".torrent") && !strings.Contains(filepath.ToSlash(path), "/testdata/fuzz/") {
				return err
			}
			b, err := os.ReadFile(path)
			out[filepath.ToSlash(path)] = fuzzInput(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	single := func(name string, length int64, pieces int) []byte {
		return fmt.Appendf(nil, "d4:info%se", singleInfo(name, length, 16384, make([]byte, 20*pieces)))
	}
	var many, deep bytes.Buffer
	many.WriteString("d4:infod5:filesl")
	for i := range 1_000_000 { // no more than a request may hold is ever read; the parser is asked all the same
		fmt.Fprintf(&many, "d6:lengthi1e4:pathl%d:%dee", len(fmt.Sprint(i)), i)
	}
	many.WriteString("e4:name1:x12:piece lengthi16384e6:pieces0:ee")
	deep.WriteString("d4:infod5:filesl")
	for i := range 10_001 {
		fmt.Fprintf(&deep, "d6:lengthi0e4:pathl%d:%dee", len(fmt.Sprint(i)), i)
	}
	deep.WriteString("e4:name1:x12:piece lengthi16384e6:pieces0:ee")
	for name, b := range map[string][]byte{
		"million-files":   many.Bytes(),
		"files-10001":     deep.Bytes(),
		"deep-lists":      append([]byte("d4:info"), bytes.Repeat([]byte("l"), 200000)...),
		"deep-dicts":      append([]byte("d4:info"), bytes.Repeat([]byte("d1:a"), 200000)...),
		"length-2^62":     single("x", 1<<62, 1),
		"length-max":      single("x", 1<<63-1, 1),
		"length-negative": single("x", -1, 1),
		"length-zero":     single("x", 0, 0),
		"pieces-lie":      single("x", 16384*4, 3),
		"device":          single("CON.txt", 1, 1),
		"newline":         single("a\r\nSet-Cookie: x", 1, 1),
		"nul":             single("a\x00.txt", 1, 1),
		"bidi":            single("a\u202egpj.exe", 1, 1),
		"name-long":       single(strings.Repeat("n", 70000), 1, 1),
	} {
		out["made/"+name] = b
	}
	return out
}

// fuzzInput returns the octets in a seed file of Go's fuzzing, and others as they are.
func fuzzInput(b []byte) []byte {
	_, rest, ok := bytes.Cut(b, []byte("[]byte("))
	if !ok || !bytes.HasPrefix(b, []byte("go test fuzz v1")) {
		return b
	}
	s, err := strconv.Unquote(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(")"))))
	if err != nil {
		return b
	}
	return []byte(s)
}

// TestHostileMetainfo: each is refused with the reason of the golden file, or taken.
func TestHostileMetainfo(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	all := hostileFiles(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m, err := ParseMetainfo(all[name], Limits{})
		if err != nil && !errors.Is(err, ErrMetadata) {
			t.Errorf("%s: %v is no refusal of metadata", name, err)
		}
		if !strings.HasPrefix(name, "made/") && !strings.HasPrefix(name, "testdata/") {
			t.Logf("%s: %v", name, err)
			continue
		}
		if err != nil {
			fmt.Fprintf(&got, "%s\t%v\n", name, err)
			continue
		}
		fmt.Fprintf(&got, "%s\ttaken: %d files, %d octets, %q\n", name, len(m.Info.Files), m.Info.Length, CleanName(m.Info.Name))
	}
	const golden = "testdata/hostile.golden"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

// infoOf cuts the info dictionary out, well formed or not: what a peer would send.
func infoOf(b []byte) []byte {
	if d, _, err := parseBencode(b); err == nil {
		if v, ok := d.get("info", 'd'); ok {
			return v.raw
		}
	}
	if _, rest, ok := bytes.Cut(b, []byte("4:info")); ok {
		return bytes.TrimSuffix(rest, []byte("e"))
	}
	return b
}

// inStore is every path that a store may make.
var inStore = regexp.MustCompile(`^(\.|state\.db|torrents|torrents/(tmp|part|files)|torrents/part/[0-9a-f]{40}(/[0-9]+)?|torrents/files/[0-9a-f]{2}(/[0-9a-f]{64})?)$`)

// TestHostileFromPeers gives the same dictionaries to the engine as a peer's answer
// for their infohash, and octets for what is taken. Nothing may crash, nothing may be
// written outside the store, and no name from the net may be part of a path.
func TestHostileFromPeers(t *testing.T) {
	t.Parallel()
	s := newStore(t, nil)
	e := newEngine(t, s, nil)
	taken, refused := 0, 0
	for name, b := range hostileFiles(t) {
		raw := infoOf(b)
		if len(raw) > 1<<20 {
			continue // the engine asks no peer for that much at once; ParseInfo's bound is tested above
		}
		h := Infohash(sha1.Sum(raw))
		if err := s.Note(Magnet{Hash: h, Length: -1}); err != nil {
			t.Fatal(err)
		}
		j, err := e.start(h, Cache)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := j.t.SetInfoBytes(raw); err != nil {
			refused++ // by the engine: to it the peer is a liar, and it goes on asking
			e.drop(h)
			<-j.done
			continue
		}
		select {
		case <-j.ready:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: neither taken nor refused", name)
		}
		if j.in == nil || s.stateOf(h) != Partial {
			<-j.done
			if !errors.Is(j.err, ErrMetadata) && !errors.Is(j.err, ErrQuota) {
				t.Errorf("%s: %v", name, j.err)
			}
			refused++
		} else {
			taken++
			writeAll(t, s, j.in)
		}
		e.drop(h)
		<-j.done
	}
	t.Logf("%d taken, %d refused", taken, refused)
	if taken == 0 || refused == 0 {
		t.Errorf("%d taken, %d refused", taken, refused)
	}
	root := filepath.Dir(s.cfg.Dir)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || !inStore.MatchString(filepath.ToSlash(rel)) || d.Type()&^fs.ModeDir != 0 {
			t.Errorf("%q is there (%v)", rel, d.Type())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stateOf returns a torrent's state.
func (s *Store) stateOf(h Infohash) State {
	r, _ := s.Record(h)
	return r.State
}

// writeAll writes an octet at the begin and at the end of each of the first pieces,
// as a peer's blocks would be.
func writeAll(t *testing.T, s *Store, in *Info) {
	t.Helper()
	ti, err := (&pieceStore{s}).OpenTorrent(context.Background(), nil, metainfo.Hash(in.Hash))
	if err != nil {
		t.Fatal(err)
	}
	var mi metainfo.Info
	mi.PieceLength, mi.Length, mi.Name = in.PieceLength, in.Length, in.Name
	mi.Pieces = make([]byte, 20*in.NumPieces)
	for i := range min(in.NumPieces, 50) {
		p := mi.Piece(i)
		for _, at := range []int64{0, p.Length() - 1} {
			if _, err := ti.Piece(p).WriteAt([]byte{1}, at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHostileOnTheWire: a peer hands over hostile metadata itself (BEP 9), claims to
// have everything and sends blocks of it. The node must refuse and go on; a hybrid
// with empty files once ended the process (in the engine, v1.62.0).
func TestHostileOnTheWire(t *testing.T) {
	t.Parallel()
	s := newStore(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	infos := map[Infohash][]byte{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				liar(c, func(h Infohash) []byte {
					mu.Lock()
					defer mu.Unlock()
					return infos[h]
				})
			})
		}
	})
	defer serving.Wait()
	defer l.Close()
	e := newEngine(t, s, func(c *EngineConfig) {
		c.Peers = func(Infohash) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())} }
	})
	defer e.Close()
	all := hostileFiles(t)
	for n, name := range map[int]string{1: "one", 2000: "many"} { // pieces, and so pieces of the metadata
		all["testdata/unreadable-"+name+".torrent"] = fmt.Appendf(nil, "d4:infod6:lengthi%de4:name1:a12:piece lengthi16384e6:pieces%d:%s6:sourcei5eee",
			n*16384, n*20, strings.Repeat("x", n*20)) // source is no text: well formed, and nothing that the engine reads
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, name := range []string{"libtorrent/empty-files-2", "libtorrent/parent_path", "libtorrent/slash_path2", "hostile/name-traversal", "hostile/path-abs", "unreadable-one", "unreadable-many"} {
		raw := infoOf(all["testdata/"+name+".torrent"])
		h := Infohash(sha1.Sum(raw))
		mu.Lock()
		infos[h] = raw
		mu.Unlock()
		if err := s.Note(Magnet{Hash: h, Length: -1}); err != nil {
			t.Fatal(err)
		}
		if err := e.Fetch(ctx, h, Cache); !errors.Is(err, ErrMetadata) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// liar is a peer that gives metadata and blocks of any kind.
func liar(c net.Conn, info func(Infohash) []byte) {
	hs := make([]byte, 68)
	if _, err := io.ReadFull(c, hs); err != nil {
		return
	}
	raw := info(Infohash(hs[28:48]))
	out := append(append([]byte{19}, "BitTorrent protocol"...), 0, 0, 0, 0, 0, 0x10, 0, 4)
	out = append(append(out, hs[28:48]...), "-XX0000-liarliarliar"...)
	msg := func(id byte, body []byte) {
		out = append(append(binary.BigEndian.AppendUint32(out, uint32(1+len(body))), id), body...)
	}
	msg(20, fmt.Appendf([]byte{0}, "d1:md11:ut_metadatai3ee13:metadata_sizei%dee", len(raw)))
	msg(14, nil) // have all (BEP 6)
	msg(1, nil)
	block := make([]byte, 8+16384)
	if _, err := c.Write(out); err != nil {
		return
	}
	theirs := byte(0)
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(size[:])%(1<<18))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		out = nil
		switch {
		case len(b) > 2 && b[0] == 20 && b[1] == 0:
			if d, _, err := parseBencode(b[2:]); err == nil {
				m, _ := d.get("m", 'd')
				n, _ := m.get("ut_metadata", 'i')
				theirs = byte(n.num)
			}
		case len(b) > 2 && b[0] == 20 && b[1] == 3:
			d, _, err := parseBencode(b[2:])
			if err != nil {
				return
			}
			n, _ := d.get("piece", 'i')
			at := min(int(n.num)*16384, len(raw))
			head := fmt.Appendf([]byte{theirs}, "d8:msg_typei1e5:piecei%de10:total_sizei%dee", n.num, len(raw))
			msg(20, append(head, raw[at:min(at+16384, len(raw))]...))
			msg(4, []byte{0, 0, 0, 0})
			msg(14, nil)
			msg(7, block)
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}
