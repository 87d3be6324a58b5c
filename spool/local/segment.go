package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
)

const (
	segHeader  = 64
	segMagic   = "LFSEG\x00\x00\x01"
	tabMagic   = "LFTAB\x00\x00\x01"
	tabHeader  = 64
	tabEntryLn = 16
)

// tabEntry says where a record lies. at is the latest arrival up to and with it:
// it never falls, so it can be searched though the clock may have been set back.
type tabEntry struct {
	seq spool.Seq
	off uint32
	at  uint32
}

// segment is one file of the log. The last one of a chain is active: the committer
// appends.
// What is not atomic changes under Spool.mu.
type segment struct {
	num   uint32
	class uint8     // retention class: which chain it is of
	salt  uint32    // start value of checksums: spool id and number
	first spool.Seq // of its first record, present or not
	fs    disk.FS
	dir   string

	size  int64      // octets that are sound
	last  spool.Seq  // of its last record; first-1 if it is empty
	count int        // records
	at    uint32     // latest arrival up to its end
	tab   []tabEntry // of the active segment, or while there is no table file

	deadPlaces atomic.Int64 // places removed; 0: every record is whole
	deadRecs   atomic.Int64
	deadBytes  atomic.Int64

	mu   sync.Mutex // guards the handles
	file disk.File
	tabF disk.File

	closed bool
	ended  bool // a write to it failed, or it is sealed: it takes no more (the committer's)
}

func segName(num uint32) string         { return fmt.Sprintf("%08d.seg", num) }
func (g *segment) path() string         { return filepath.Join(g.dir, segName(g.num)) }
func (g *segment) side(e string) string { return strings.TrimSuffix(g.path(), "seg") + e }

// encodeSegHeader makes a segment's first octets: magic, spool id, number, class,
// first Seq, number and sound length of the segment before it in its chain, checksum.
func encodeSegHeader(id string, num uint32, class uint8, first spool.Seq, prev uint32, prevSize int64) []byte {
	b := make([]byte, segHeader)
	copy(b, segMagic)
	copy(b[8:24], id)
	le := binary.LittleEndian
	le.PutUint32(b[24:], num)
	le.PutUint32(b[28:], uint32(class))
	le.PutUint64(b[32:], uint64(first))
	le.PutUint32(b[40:], prev)
	le.PutUint64(b[48:], uint64(prevSize))
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

type segHead struct {
	id       string
	num      uint32
	class    uint8
	first    spool.Seq
	prev     uint32
	prevSize int64
}

// segSalt is what a segment's checksums begin with, so that a record counts only
// in its own segment, of its own spool, though a header be damaged.
func segSalt(id string, num uint32) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint32([]byte(id), num), castagnoli)
}

func decodeSegHeader(b []byte) (segHead, error) {
	le := binary.LittleEndian
	if len(b) < segHeader || string(b[:8]) != segMagic || le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) || le.Uint32(b[28:]) >= classCount {
		return segHead{}, fmt.Errorf("%w: no segment of this version", errBad)
	}
	return segHead{strings.TrimRight(string(b[8:24]), "\x00"), le.Uint32(b[24:]), uint8(le.Uint32(b[28:])), spool.Seq(le.Uint64(b[32:])),
		le.Uint32(b[40:]), int64(le.Uint64(b[48:]))}, nil
}

// handle opens the segment's file, once.
func (g *segment) handle() (disk.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, spool.ErrClosed
	}
	if g.file == nil {
		f, err := g.fs.Open(g.path(), false)
		if err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		g.file = f
	}
	return g.file, nil
}

func (g *segment) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file != nil {
		g.file.Close()
	}
	if g.tabF != nil {
		g.tabF.Close()
	}
	g.file, g.tabF, g.closed = nil, nil, true
}

// readAt is pread that treats an end of file as less, not as an error.
func readAt(f disk.File, b []byte, off int64) ([]byte, error) {
	n, err := f.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// view is what a reader may know of a segment without a lock.
type view struct {
	*segment
	size  int64
	last  spool.Seq
	count int
	at    uint32
	tab   []tabEntry
}

// entry returns the i-th entry of the table; behind the last, one that ends it.
func (v view) entries(i, n int) ([]tabEntry, error) {
	if v.tab != nil || v.count == 0 {
		out := append([]tabEntry(nil), v.tab[min(i, len(v.tab)):min(i+n, len(v.tab))]...)
		if len(out) < n {
			out = append(out, tabEntry{math.MaxUint64, uint32(v.size), math.MaxUint32})
		}
		return out, nil
	}
	f, err := v.table()
	if err != nil {
		return nil, err
	}
	var small [2 * tabEntryLn]byte
	buf := small[:]
	if n > 2 {
		buf = make([]byte, n*tabEntryLn)
	}
	b, err := readAt(f, buf[:min(n, max(0, v.count-i))*tabEntryLn], tabHeader+int64(i)*tabEntryLn)
	if err != nil {
		return nil, err
	}
	out := make([]tabEntry, 0, n)
	for ; len(b) >= tabEntryLn; b = b[tabEntryLn:] {
		out = append(out, getTabEntry(b))
	}
	if len(out) < n {
		out = append(out, tabEntry{math.MaxUint64, uint32(v.size), math.MaxUint32})
	}
	return out, nil
}

func getTabEntry(b []byte) tabEntry {
	le := binary.LittleEndian
	return tabEntry{spool.Seq(le.Uint64(b)), le.Uint32(b[8:]), le.Uint32(b[12:])}
}

// find returns the index of the first entry with Seq >= seq.
func (v view) find(seq spool.Seq) (int, error) {
	if seq <= v.first {
		return 0, nil
	}
	if seq > v.last {
		return v.count, nil
	}
	if i := int(seq - v.first); i < v.count { // no record is missing in most segments
		if e, err := v.entries(i, 1); err == nil && e[0].seq == seq {
			return i, nil
		}
	}
	if i, ok := v.near(seq); ok {
		return i, nil
	}
	return v.search(func(e tabEntry) bool { return e.seq >= seq })
}

// near looks for the first entry with Seq >= seq where it should be if those of
// other chains were spread evenly between: a read or two instead of a dozen.
func (v view) near(seq spool.Seq) (int, bool) {
	const block = 64
	lo, hi := 0, v.count // it is in between
	from, to := v.first, v.last
	for range 4 {
		if hi-lo <= block || to <= from {
			break
		}
		at := lo + int(float64(seq-from)/float64(to-from)*float64(hi-lo)) - block/2
		at = min(max(at, lo), hi-block)
		e, err := v.entries(at, block)
		if err != nil || len(e) < block {
			return 0, false
		}
		switch {
		case e[0].seq >= seq && at > lo:
			hi, to = at+1, e[0].seq
		case e[block-1].seq < seq:
			lo, from = at+block, e[block-1].seq
		default:
			return at + sort.Search(block, func(i int) bool { return e[i].seq >= seq }), true
		}
	}
	return 0, false
}

func (v view) search(ok func(tabEntry) bool) (int, error) {
	var bad error
	i := sort.Search(v.count, func(i int) bool {
		e, err := v.entries(i, 1)
		if err != nil {
			bad = err
			return true
		}
		return ok(e[0])
	})
	return i, bad
}

// extent returns where the record of seq lies, or false.
func (v view) extent(seq spool.Seq) (off, end int64, ok bool, err error) {
	i, err := v.find(seq)
	if err != nil || i >= v.count {
		return 0, 0, false, err
	}
	e, err := v.entries(i, 2)
	if err != nil || len(e) < 2 || e[0].seq != seq {
		return 0, 0, false, err
	}
	return int64(e[0].off), int64(e[1].off), true, nil
}

// table opens the table file, once.
func (g *segment) table() (disk.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, spool.ErrClosed
	}
	if g.tabF == nil {
		f, err := g.fs.Open(g.side("tab"), false)
		if err != nil {
			return nil, fmt.Errorf("open table: %w", err)
		}
		g.tabF = f
	}
	return g.tabF, nil
}

// writeTable writes tab beside the segment. It need not be synced: a table that
// is missing or does not match its checksum is made again from the segment.
func (g *segment) writeTable() error {
	b := make([]byte, tabHeader, tabHeader+len(g.tab)*tabEntryLn)
	le := binary.LittleEndian
	for _, e := range g.tab {
		b = le.AppendUint64(b, uint64(e.seq))
		b = le.AppendUint32(b, e.off)
		b = le.AppendUint32(b, e.at)
	}
	copy(b, tabMagic)
	le.PutUint32(b[8:], g.salt)
	le.PutUint32(b[12:], uint32(len(g.tab)))
	le.PutUint64(b[16:], uint64(g.size))
	le.PutUint64(b[24:], uint64(g.last))
	le.PutUint32(b[32:], g.at)
	le.PutUint32(b[36:], crc32.Checksum(b[tabHeader:], castagnoli))
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	f, err := g.fs.Open(g.side("new"), true)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := g.fs.Rename(g.side("new"), g.side("tab")); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tabF != nil { // of a table that was no good
		g.tabF.Close()
		g.tabF = nil
	}
	return nil
}

// loadTable takes over what the table file says of the segment, if its sum holds
// and it is about these octets.
func (g *segment) loadTable(size int64) bool {
	f, err := g.table()
	if err != nil {
		return false
	}
	n, err := f.Size()
	if err != nil || n < tabHeader || n > 1<<30 {
		return false
	}
	b, err := readAt(f, make([]byte, n), 0)
	le := binary.LittleEndian
	if err != nil || int64(len(b)) != n || string(b[:8]) != tabMagic || le.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) ||
		le.Uint32(b[8:]) != g.salt || int(le.Uint32(b[12:]))*tabEntryLn != len(b)-tabHeader ||
		le.Uint32(b[36:]) != crc32.Checksum(b[tabHeader:], castagnoli) || int64(le.Uint64(b[16:])) != size {
		return false
	}
	g.count, g.size, g.last, g.at = int(le.Uint32(b[12:])), size, spool.Seq(le.Uint64(b[24:])), le.Uint32(b[32:])
	return true
}

// scanned is one step of a walk through a segment's octets.
type scanned struct {
	off, end int64
	rec      record // with wire if the scan was asked for whole records
	err      error  // this stretch holds no sound record; it ends at end
}

// scan walks through the records from off to size. Where one is damaged it looks
// for the next, yields the stretch between as an error, and goes on.
func (g *segment) scan(off, size int64, whole bool, yield func(scanned) bool) error {
	f, err := g.handle()
	if err != nil {
		return err
	}
	w := window{f: f, size: size}
	for off < size {
		b, err := w.at(off, prefixLen)
		if err != nil {
			return err
		}
		p, bad := parsePrefix(b)
		if bad == nil && off+int64(p.total) > size {
			bad = fmt.Errorf("%w: cut off", errBad)
		}
		var r record
		if bad == nil {
			need := int(prefixLen + p.head)
			if whole {
				need = int(p.total)
			}
			if b, err = w.at(off, need); err != nil {
				return err
			}
			if whole {
				r, _, bad = parseRecord(b, g.salt)
			} else {
				r, _, bad = parseHead(b, g.salt)
			}
		}
		s := scanned{off: off, end: off + int64(p.total), rec: r, err: bad}
		if bad != nil {
			if s.end, err = g.resync(&w, off+1); err != nil {
				return err
			}
		}
		if !yield(s) {
			return nil
		}
		off = s.end
	}
	return nil
}

// resync finds the next place from off on where a sound head begins.
func (g *segment) resync(w *window, off int64) (int64, error) {
	for ; off+prefixLen <= w.size; off++ {
		b, err := w.at(off, prefixLen)
		if err != nil {
			return 0, err
		}
		p, bad := parsePrefix(b)
		if bad != nil || off+int64(p.total) > w.size {
			continue
		}
		if b, err = w.at(off, int(prefixLen+p.head)); err != nil {
			return 0, err
		}
		if _, _, bad := parseHead(b, g.salt); bad == nil {
			return off, nil
		}
	}
	return w.size, nil
}

// window reads a file in large pieces, forward.
type window struct {
	f    disk.File
	size int64
	off  int64
	buf  []byte
	step int
}

// at returns n octets at off, fewer at the end; they are good until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if rest := w.size - off; int64(n) > rest {
		n = int(max(0, rest))
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		if w.step == 0 {
			w.step = 256 << 10
		}
		want := min(int64(max(n, w.step)), w.size-off)
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		b, err := readAt(w.f, w.buf[:want], off)
		if err != nil {
			return nil, err
		}
		w.off, w.buf = off, b
	}
	i := int(off - w.off)
	return w.buf[i:min(i+n, len(w.buf))], nil
}

// note adds a record to what is known of the segment.
func (g *segment) note(seq spool.Seq, off, end int64, arrived time.Time) {
	g.at = max(g.at, clamp32(arrived.Unix()))
	g.tab = append(g.tab, tabEntry{seq, uint32(off), g.at})
	g.last, g.size = seq, end
	g.count++
}

func clamp32(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }
