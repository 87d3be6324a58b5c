package local

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
)

// The meta log holds what outlives its segment: groups, high marks, removals,
// recalls. It is one small file, rewritten when it has grown.
const (
	metaName   = "meta.log"
	metaMagic  = "LFMETA\x00\x01"
	metaHeader = 32
	metaGrown  = 1 << 20 // octets from which it is rewritten, if twice as long as then
)

type metaKind uint8

const (
	metaPut      metaKind = iota + 1 // groups made or changed
	metaDrop                         // a group removed
	metaRemove                       // an article removed
	metaRecall                       // an id recalled
	metaState                        // a group with its marks, in a rewritten log
	metaMarks                        // low and high marks after a sweep
	metaUnlinked                     // segments dropped
	metaEnd                          // where a segment ends whose successor was dropped
)

// metaRec is one act. after is the last Seq at that time: a replay does it then.
type metaRec struct {
	n      uint64 // its number, rising by one
	after  spool.Seq
	kind   metaKind
	groups []spool.GroupInfo // metaPut; metaState: one; metaMarks: Name, Low, High
	gone   bool              // metaState: the group is a removed one
	name   article.Group     // metaDrop
	seq    spool.Seq         // metaRemove
	from   []article.Group   // metaRemove
	id     article.ID        // metaRecall
	until  time.Time         // metaRemove, metaRecall, metaDrop: base for ids is arrival; unused
	segs   []uint32          // metaUnlinked; metaEnd: one
	size   int64             // metaEnd: its sound octets
}

func appendMeta(dst []byte, m *metaRec) []byte {
	start := len(dst)
	b := append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, m.n)
	b = binary.AppendUvarint(b, uint64(m.after))
	b = append(b, byte(m.kind))
	switch m.kind {
	case metaPut, metaState, metaMarks:
		b = append(b, b2u(m.gone))
		b = binary.AppendUvarint(b, uint64(len(m.groups)))
		for i := range m.groups {
			b = appendInfo(b, &m.groups[i])
		}
	case metaDrop:
		b = appendString(b, string(m.name))
	case metaRemove:
		b = binary.AppendUvarint(b, uint64(m.seq))
		b = appendGroups(b, m.from)
		b = binary.AppendVarint(b, unix(m.until))
	case metaRecall:
		b = appendString(b, string(m.id))
		b = binary.AppendVarint(b, unix(m.until))
	case metaUnlinked:
		b = binary.AppendUvarint(b, uint64(len(m.segs)))
		for _, n := range m.segs {
			b = binary.AppendUvarint(b, uint64(n))
		}
	case metaEnd:
		b = binary.AppendUvarint(b, uint64(m.segs[0]))
		b = binary.AppendUvarint(b, uint64(m.size))
	}
	p := b[start:]
	binary.LittleEndian.PutUint32(p, uint32(len(p)-8))
	binary.LittleEndian.PutUint32(p[4:], crc32.Checksum(p[8:], castagnoli))
	return b
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendInfo(b []byte, g *spool.GroupInfo) []byte {
	b = append(b, byte(g.Status))
	for _, s := range [...]string{string(g.Name), g.Description, g.Moderator, g.Require, g.Approved, g.Detach, g.Fetch, g.Creator} {
		b = appendString(b, s)
	}
	b = binary.AppendVarint(b, int64(g.Keep))
	b = binary.AppendVarint(b, unix(g.Created))
	for _, n := range [...]uint64{g.Low, g.High, g.Count} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func (d *decoder) info() (g spool.GroupInfo) {
	g.Status = spool.Status(d.byte())
	g.Name = article.Group(d.string())
	for _, p := range [...]*string{&g.Description, &g.Moderator, &g.Require, &g.Approved, &g.Detach, &g.Fetch, &g.Creator} {
		*p = d.string()
	}
	g.Keep, g.Created = time.Duration(d.int()), fromUnix(d.int())
	g.Low, g.High, g.Count = d.uint(), d.uint(), d.uint()
	return g
}

// parseMeta decodes the record at the start of b and returns its length.
func parseMeta(b []byte) (metaRec, int, error) {
	if len(b) < 8 {
		return metaRec{}, 0, fmt.Errorf("%w: meta log ends within a record", errBad)
	}
	n := int64(binary.LittleEndian.Uint32(b)) + 8
	if n > int64(len(b)) || crc32.Checksum(b[8:n], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return metaRec{}, 0, fmt.Errorf("%w: checksum in meta log", errBad)
	}
	d := newDecoder(b[8:n])
	m := metaRec{n: d.uint(), after: spool.Seq(d.uint()), kind: metaKind(d.byte())}
	switch m.kind {
	case metaPut, metaState, metaMarks:
		m.gone = d.byte() == 1
		for range d.count(13) {
			m.groups = append(m.groups, d.info())
		}
	case metaDrop:
		m.name = article.Group(d.string())
	case metaRemove:
		m.seq, m.from, m.until = spool.Seq(d.uint()), d.groups(), fromUnix(d.int())
	case metaRecall:
		m.id, m.until = article.ID(d.string()), fromUnix(d.int())
	case metaUnlinked:
		for range d.count(1) {
			m.segs = append(m.segs, uint32(d.uint()))
		}
	case metaEnd:
		m.segs, m.size = []uint32{uint32(d.uint())}, int64(d.uint())
	default:
		d.fail()
	}
	if d.bad || d.at != len(d.s) {
		return metaRec{}, 0, fmt.Errorf("%w: meta log", errBad)
	}
	return m, int(n), nil
}

// metaLog is the open meta log. Only the committer uses it.
type metaLog struct {
	fs     disk.FS
	dir    string
	id     string
	file   disk.File
	size   int64 // sound octets
	fresh  int64 // size after the last rewriting
	next   uint64
	base   uint64 // acts up to this one are summed up in the log
	broken bool   // a write or sync failed: never sync this file again, rewrite it
}

func metaHead(id string) []byte {
	b := make([]byte, metaHeader)
	copy(b, metaMagic)
	copy(b[8:24], id)
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
	return b
}

// openMeta reads the meta log; the id is "" if there is none. What is damaged at
// its end was never acknowledged and is cut off. Damage before sound records is
// an error: see FORMAT.md for what to do.
func openMeta(fs disk.FS, dir string) (*metaLog, []metaRec, error) {
	l := &metaLog{fs: fs, dir: dir, next: 1}
	f, err := fs.Open(filepath.Join(dir, metaName), false)
	if err != nil {
		if isNotExist(err) {
			return l, nil, nil
		}
		return nil, nil, fmt.Errorf("open meta log: %w", err)
	}
	l.file = f
	size, err := f.Size()
	if err != nil {
		return nil, nil, err
	}
	b, err := readAt(f, make([]byte, size), 0)
	if err != nil {
		return nil, nil, fmt.Errorf("read meta log: %w", err)
	}
	if len(b) < metaHeader || string(b[:8]) != metaMagic || binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return nil, nil, fmt.Errorf("%s: %w: not a meta log of this version; restore it from a backup, or move it away: groups are then found again in the articles, but descriptions, empty groups and removals are lost", filepath.Join(dir, metaName), errBad)
	}
	l.id = string(trimNul(b[8:24]))
	var recs []metaRec
	at := metaHeader
	for at < len(b) {
		m, n, err := parseMeta(b[at:])
		if err != nil {
			if next, ok := laterMeta(b[at+1:]); ok && next.n >= l.next {
				return nil, nil, fmt.Errorf("%s: octet %d: %w, but sound records follow; restore it from a backup", filepath.Join(dir, metaName), at, err)
			}
			break
		}
		recs = append(recs, m)
		l.next = m.n + 1
		if m.kind == metaMarks && len(m.groups) == 0 {
			l.base = m.n
		}
		at += n
	}
	l.size, l.fresh = int64(at), int64(at)
	if err := settleFile(f, l.size, size); err != nil {
		return nil, nil, fmt.Errorf("meta log: %w", err)
	}
	return l, recs, nil
}

// laterMeta looks for a sound record further on.
func laterMeta(b []byte) (metaRec, bool) {
	for i := range b {
		if m, _, err := parseMeta(b[i:]); err == nil {
			return m, true
		}
	}
	return metaRec{}, false
}

func trimNul(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// append writes records with one sync. They have their numbers from l.next on.
func (l *metaLog) append(recs ...*metaRec) error {
	var b []byte
	for i, m := range recs {
		m.n = l.next + uint64(i)
		b = appendMeta(b, m)
	}
	if _, err := l.file.WriteAt(b, l.size); err != nil {
		l.broken = true
		return fmt.Errorf("write meta log: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		l.broken = true
		return fmt.Errorf("sync meta log: %w", err)
	}
	l.size += int64(len(b))
	l.next += uint64(len(recs))
	return nil
}

// rewrite replaces the log by these records, under their own numbers.
func (l *metaLog) rewrite(recs []metaRec) error {
	b := metaHead(l.id)
	for i := range recs {
		b = appendMeta(b, &recs[i])
	}
	name := filepath.Join(l.dir, metaName)
	f, err := l.fs.Open(name+".new", true)
	if err != nil {
		return fmt.Errorf("rewrite meta log: %w", err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.Rename(name+".new", name)
	}
	if err != nil {
		f.Close()
		l.fs.Remove(name + ".new") // its sync may have failed: the next one is another file
		return fmt.Errorf("rewrite meta log: %w", err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.size, l.fresh = f, int64(len(b)), int64(len(b))
	l.broken = true // until the new name is durable
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("rewrite meta log: %w", err)
	}
	l.broken = false
	return nil
}

// read returns the sound records there are.
func (l *metaLog) read() ([]metaRec, error) {
	b, err := readAt(l.file, make([]byte, l.size), 0)
	if err != nil {
		return nil, fmt.Errorf("read meta log: %w", err)
	}
	var recs []metaRec
	for at := metaHeader; at < len(b); {
		m, n, err := parseMeta(b[at:])
		if err != nil {
			return nil, err
		}
		recs = append(recs, m)
		at += n
	}
	return recs, nil
}
