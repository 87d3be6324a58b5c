package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// A record in a segment (FORMAT.md): prefix, head, wire octets. Numbers in the
// prefix are little-endian.
const (
	prefixLen = 24
	magic     = 0x3152_4c00 // "\x00LR1": an article holds no NUL, so none can hold a record
	maxRecord = 512 << 20
	maxHead   = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBad is wrapped by errors about octets that are no sound record.
var errBad = errors.New("damaged record")

// record is one article as the log holds it.
type record struct {
	spool.Entry
	batch   uint32    // offset of the first record of its group commit
	class   uint8     // retention class: that of the segment
	expires time.Time // zero: none
	headLen int       // length of the article's header
	wire    []byte
}

// appendRecord appends r to dst. salt differs per segment.
func appendRecord(dst []byte, r *record, salt uint32) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, prefixLen)...)
	dst = appendHead(dst, r)
	head := dst[start+prefixLen:]
	dst = append(dst, r.wire...)
	p := dst[start:]
	le := binary.LittleEndian
	le.PutUint32(p, magic)
	le.PutUint32(p[4:], uint32(len(p)))
	le.PutUint32(p[8:], uint32(len(head)))
	le.PutUint32(p[12:], r.batch)
	le.PutUint32(p[16:], crc32.Checksum(r.wire, castagnoli))
	le.PutUint32(p[20:], headSum(p[:20], head, salt))
	return dst
}

func headSum(prefix, head []byte, salt uint32) uint32 {
	return crc32.Update(crc32.Update(salt, castagnoli, prefix), castagnoli, head)
}

// prefix is the fixed part of a record.
type prefix struct{ total, head, batch, wireSum, headSum uint32 }

// parsePrefix reads the fixed part and checks what can be checked without the rest.
func parsePrefix(b []byte) (prefix, error) {
	if len(b) < prefixLen {
		return prefix{}, fmt.Errorf("%w: %d octets left", errBad, len(b))
	}
	le := binary.LittleEndian
	p := prefix{le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:]), le.Uint32(b[20:])}
	if le.Uint32(b) != magic || p.total > maxRecord || p.head > maxHead || p.total < prefixLen+p.head {
		return prefix{}, fmt.Errorf("%w: no record begins here", errBad)
	}
	return p, nil
}

// parseHead decodes prefix and head of the record at the start of b, which may
// end after the head; the wire octets are not looked at.
func parseHead(b []byte, salt uint32) (record, prefix, error) {
	p, err := parsePrefix(b)
	if err != nil {
		return record{}, p, err
	}
	if len(b) < int(prefixLen+p.head) {
		return record{}, p, fmt.Errorf("%w: head is cut off", errBad)
	}
	head := b[prefixLen : prefixLen+p.head]
	if headSum(b[:20], head, salt) != p.headSum {
		return record{}, p, fmt.Errorf("%w: checksum of head", errBad)
	}
	r, err := decodeHead(head)
	r.batch = p.batch
	return r, p, err
}

// parseRecord decodes the record at the start of b and checks both sums. The
// record's wire is part of b.
func parseRecord(b []byte, salt uint32) (record, prefix, error) {
	r, p, err := parseHead(b, salt)
	if err != nil {
		return r, p, err
	}
	if len(b) < int(p.total) {
		return record{}, p, fmt.Errorf("%w: article is cut off", errBad)
	}
	r.wire = b[prefixLen+p.head : p.total : p.total]
	if crc32.Checksum(r.wire, castagnoli) != p.wireSum {
		return record{}, p, fmt.Errorf("%w: checksum of article", errBad)
	}
	if r.headLen+2 > len(r.wire) {
		return record{}, p, fmt.Errorf("%w: header longer than article", errBad)
	}
	return r, p, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func appendHead(b []byte, r *record) []byte {
	b = binary.AppendUvarint(b, uint64(r.Seq))
	b = binary.AppendVarint(b, unix(r.Arrived))
	b = binary.AppendVarint(b, unix(r.expires))
	b = append(b, r.class, byte(r.Via.How))
	b = appendString(b, r.Via.Peer)
	b = binary.AppendUvarint(b, uint64(len(r.Places)))
	for _, p := range r.Places {
		b = appendString(b, string(p.Group))
		b = binary.AppendUvarint(b, p.Number)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Path)))
	for _, h := range r.Path {
		b = appendString(b, h)
	}
	b = appendOverview(b, &r.Overview)
	b = binary.AppendUvarint(b, uint64(r.headLen))
	return appendProof(b, &r.Proof)
}

func appendOverview(b []byte, o *article.Overview) []byte {
	for _, s := range [...]string{o.Subject, o.From, o.Date, string(o.ID), o.References, o.Newsgroups} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(o.Bytes))
	b = binary.AppendUvarint(b, uint64(o.Lines))
	return binary.AppendUvarint(b, uint64(o.Has))
}

func appendProof(b []byte, p *article.Proof) []byte {
	b = append(b, byte(p.State))
	if p.State == article.ProofNone {
		return b
	}
	b = appendString(appendString(b, p.Purpose), p.Identity)
	b = append(b, p.Key[:]...)
	b = binary.AppendVarint(b, p.Time)
	b = binary.AppendUvarint(b, p.Q)
	b = append(b, p.Digest[:]...)
	b = appendGroups(b, p.Right)
	b = binary.AppendUvarint(b, uint64(len(p.Approve)))
	for _, a := range p.Approve {
		b = appendString(b, a.Identity)
		b = append(b, a.Key[:]...)
		b = binary.AppendVarint(b, a.Time)
		b = appendGroups(b, a.Right)
	}
	return b
}

func appendGroups(b []byte, gs []article.Group) []byte {
	b = binary.AppendUvarint(b, uint64(len(gs)))
	for _, g := range gs {
		b = appendString(b, string(g))
	}
	return b
}

// decoder reads what the append functions wrote. Its strings are parts of the
// input. After an error it returns zeros.
type decoder struct {
	s   string
	at  int
	bad bool
}

func newDecoder(b []byte) *decoder { return &decoder{s: string(b)} }

// uint reads a uvarint in its shortest form: one form only, so that encoding gives
// it back.
func (d *decoder) uint() uint64 {
	if d.at < len(d.s) && d.s[d.at] < 0x80 { // nearly all
		d.at++
		return uint64(d.s[d.at-1])
	}
	n := uint64(0)
	for k := 0; k < binary.MaxVarintLen64 && d.at+k < len(d.s); k++ {
		c := d.s[d.at+k]
		n |= uint64(c&0x7f) << (7 * k)
		if c >= 0x80 {
			continue
		}
		if c == 0 || k == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		d.at += k + 1
		return n
	}
	d.fail()
	return 0
}

func (d *decoder) int() int64 {
	n := d.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) fail() { d.bad, d.at = true, len(d.s) }

func (d *decoder) byte() byte {
	if d.at >= len(d.s) {
		d.fail()
		return 0
	}
	d.at++
	return d.s[d.at-1]
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.s)-d.at) {
		d.fail()
		return ""
	}
	d.at += int(n)
	return d.s[d.at-int(n) : d.at]
}

// count reads the length of a list whose items take at least size octets.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64((len(d.s)-d.at)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) bytes32() (out [32]byte) {
	if len(d.s)-d.at < 32 {
		d.fail()
		return out
	}
	copy(out[:], d.s[d.at:])
	d.at += 32
	return out
}

func (d *decoder) groups() []article.Group {
	var out []article.Group
	for range d.count(1) {
		out = append(out, article.Group(d.string()))
	}
	return out
}

func (d *decoder) overview() (o article.Overview) {
	o.Subject, o.From, o.Date = d.string(), d.string(), d.string()
	o.ID, o.References, o.Newsgroups = article.ID(d.string()), d.string(), d.string()
	o.Bytes, o.Lines = int(d.uint()), int(d.uint())
	has := d.uint()
	if o.Bytes < 0 || o.Lines < 0 || has > math.MaxUint32 {
		d.fail()
	}
	o.Has = article.Has(has)
	return o
}

func decodeHead(b []byte) (record, error) {
	d := newDecoder(b)
	r := record{}
	r.Seq = spool.Seq(d.uint())
	r.Arrived, r.expires = fromUnix(d.int()), fromUnix(d.int())
	r.class, r.Via.How = d.byte(), spool.How(d.byte())
	r.Via.Peer = d.string()
	if n := d.count(2); n > 0 {
		r.Places = make([]spool.Place, n)
	}
	for i := range r.Places {
		r.Places[i] = spool.Place{Group: article.Group(d.string()), Number: d.uint()}
	}
	if n := d.count(1); n > 0 {
		r.Path = make([]string, n)
	}
	for i := range r.Path {
		r.Path[i] = d.string()
	}
	r.Overview = d.overview()
	r.headLen = int(d.uint())
	r.Proof = d.proof()
	if d.bad || d.at != len(b) || r.Seq == 0 || r.headLen < 0 {
		return record{}, fmt.Errorf("%w: head is not readable", errBad)
	}
	return r, nil
}

func (d *decoder) proof() (p article.Proof) {
	p.State = article.ProofState(d.byte())
	if p.State == article.ProofNone {
		return p
	}
	p.Purpose, p.Identity = d.string(), d.string()
	p.Key, p.Time, p.Q, p.Digest = d.bytes32(), d.int(), d.uint(), d.bytes32()
	p.Right = d.groups()
	for range d.count(35) {
		p.Approve = append(p.Approve, article.Approval{Identity: d.string(), Key: d.bytes32(), Time: d.int(), Right: d.groups()})
	}
	return p
}

// A row of the index: what Range needs of an article in one group.
type row struct {
	seq     spool.Seq
	arrived time.Time
	places  []rowPlace // the group's own first
	over    article.Overview
}

type rowPlace struct {
	gid    uint32
	number uint64
}

// appendRow encodes a row: its Seq in the first 8 octets, then the rest.
func appendRow(b []byte, r *row) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.seq))
	b = binary.AppendVarint(b, unix(r.arrived))
	b = binary.AppendUvarint(b, uint64(len(r.places)))
	for _, p := range r.places {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(p.gid)), p.number)
	}
	return appendOverview(b, &r.over)
}

func decodeRow(b []byte) (row, error) {
	if len(b) < 8 {
		return row{}, fmt.Errorf("%w: index row", errBad)
	}
	var r row
	err := r.decode(string(b), rowSeq(b))
	return r, err
}

// decode reads a row of that Seq from a string of at least 8 octets, which it keeps.
// It reuses r.places.
func (r *row) decode(text string, seq spool.Seq) error {
	d := decoder{s: text, at: 8}
	r.seq, r.arrived = seq, fromUnix(d.int())
	r.places = r.places[:0]
	for range d.count(2) {
		r.places = append(r.places, rowPlace{uint32(d.uint()), d.uint()})
	}
	r.over = d.overview()
	if d.bad || len(r.places) == 0 {
		return fmt.Errorf("%w: index row", errBad)
	}
	return nil
}

func rowSeq(b []byte) spool.Seq { return spool.Seq(binary.BigEndian.Uint64(b)) }

// skim reads of a row what NEWNEWS needs: arrival, whether it stands in several
// groups, and its id, a part of raw.
func skim(raw []byte) (arrived int64, crossposted bool, id []byte, err error) {
	n, at := uvarint(raw, 8)
	arrived = int64(n>>1) ^ -int64(n&1)
	places, at := uvarint(raw, at)
	for i := uint64(0); i < 2*places && at <= len(raw); i++ {
		_, at = uvarint(raw, at)
	}
	for range 4 { // Subject, From, Date, Message-ID
		n, at = uvarint(raw, at)
		if at > len(raw) || n > uint64(len(raw)-at) {
			return 0, false, nil, fmt.Errorf("%w: index row", errBad)
		}
		id = raw[at : at+int(n)]
		at += int(n)
	}
	return arrived, places > 1, id, nil
}

// uvarint reads one at b[at:] and returns where the next begins: beyond the end if
// there is none.
func uvarint(b []byte, at int) (n uint64, next int) {
	if at < len(b) {
		if b[at] < 0x80 { // nearly all
			return uint64(b[at]), at + 1
		}
		if n, k := binary.Uvarint(b[at:]); k > 0 {
			return n, at + k
		}
	}
	return 0, len(b) + 1
}

// without returns the row less one place.
func (r row) without(gone rowPlace) row {
	r.places = slices.DeleteFunc(slices.Clone(r.places), func(p rowPlace) bool { return p == gone })
	return r
}
