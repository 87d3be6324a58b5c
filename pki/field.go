package pki

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The purposes of an article signature (§2.5).
const (
	UsePost    = "post"
	UseApprove = "approve"
	UseControl = "control"
	UseGate    = "gate"
)

// maxField bounds the value of an Article-Signature field, blanks dropped (§2.1).
const maxField = 1000

// maxFields bounds the number of Article-Signature fields of an article (§2.1).
const maxFields = 4

// Field is one Article-Signature field (§2.1).
type Field struct {
	Purpose  string // u
	Identity ID     // i
	Key      Key    // k
	Time     int64  // t, Unix seconds
	Q        uint64
	P        *Digest // digest of article q-1, or nil
	N        *Digest // key digest of the next key: mode chain
	O        *Digest // digest of the author's field: u=approve
	BH       Digest  // body hash
	B        [64]byte

	covered string // tags v..bh as signed
}

var errOtherVersion = errors.New("a field of another version")

// ParseField reads the value of an Article-Signature field; blanks and folds may
// stand anywhere in it. Anything not exactly as §2.1 says is an error.
func ParseField(value []byte) (*Field, error) {
	v := dropBlanks(value)
	if ver, _, _ := strings.Cut(v, ";"); strings.HasPrefix(ver, "v=") && ver != "v=1" {
		if _, err := parseNumber(ver[2:]); err == nil {
			return nil, errOtherVersion
		}
	}
	if len(v) > maxField {
		return nil, fmt.Errorf("Article-Signature of %d octets, the limit is %d", len(v), maxField)
	}
	f, err := parseTags(v)
	if err != nil {
		return nil, fmt.Errorf("Article-Signature: %w", err)
	}
	return f, nil
}

func dropBlanks(value []byte) string {
	out := make([]byte, 0, len(value))
	for _, c := range value {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return string(out)
}

// tags takes tag after tag off a field's value, in the one order allowed.
type tags struct {
	rest string
	err  error
}

// next returns the value of the tag if it is the next one.
func (t *tags) next(name string, need bool) (string, bool) {
	if t.err != nil {
		return "", false
	}
	after, ok := strings.CutPrefix(t.rest, name+"=")
	if !ok {
		if need {
			t.err = fmt.Errorf("tag %s is missing or misplaced", name)
		}
		return "", false
	}
	v, rest, more := strings.Cut(after, ";")
	if v == "" || more && rest == "" {
		t.err = fmt.Errorf("tag %s is empty, or the field ends with a semicolon", name)
		return "", false
	}
	t.rest = rest
	return v, true
}

func (t *tags) number(name string) uint64 {
	v, ok := t.next(name, true)
	if !ok {
		return 0
	}
	n, err := parseNumber(v)
	if err != nil {
		t.err = fmt.Errorf("tag %s %w", name, err)
	}
	return n
}

func (t *tags) digest(name string, need bool) *Digest {
	v, ok := t.next(name, need)
	if !ok {
		return nil
	}
	d, err := parse32(v)
	if err != nil {
		t.err = fmt.Errorf("tag %s %w", name, err)
		return nil
	}
	return (*Digest)(&d)
}

func parseTags(v string) (*Field, error) {
	f, t := &Field{}, &tags{rest: v}
	if ver, _ := t.next("v", true); t.err == nil && ver != "1" {
		return nil, errors.New("tag v is not a version")
	}
	if alg, _ := t.next("a", true); t.err == nil && alg != "ed25519" {
		return nil, errors.New("tag a is not ed25519")
	}
	f.Purpose, _ = t.next("u", true)
	id, _ := t.next("i", true)
	key := t.digest("k", true)
	f.Time = int64(t.number("t"))
	f.Q = t.number("q")
	f.P = t.digest("p", false)
	f.N = t.digest("n", false)
	f.O = t.digest("o", false)
	bh := t.digest("bh", true)
	sig, _ := t.next("b", true)
	if t.err != nil {
		return nil, t.err
	}
	if t.rest != "" {
		return nil, errors.New("something follows tag b")
	}
	f.Key, f.BH = Key(*key), *bh
	f.covered = v[:len(v)-len(sig)-len(";b=")]
	return f, f.finish(id, sig)
}

// finish reads what needs more than one tag to be judged.
func (f *Field) finish(id, sig string) (err error) {
	switch f.Purpose {
	case UsePost, UseControl, UseGate:
		if f.O != nil {
			return errors.New("tag o belongs to u=approve only")
		}
	case UseApprove:
	default:
		return fmt.Errorf("unknown purpose u=%.20q", f.Purpose)
	}
	if f.P != nil && f.Q == 0 {
		return errors.New("tag p with q=0")
	}
	if f.Identity, err = ParseID(id); err != nil || strings.HasPrefix(id, "id:") {
		return errors.New("tag i: an identity has 52 characters a-z and 2-7")
	}
	if f.B, err = parse64(sig); err != nil {
		return fmt.Errorf("tag b %w", err)
	}
	return nil
}

// cover writes the tags v..bh, joined without blanks: what §2.4 (2) signs.
func (f *Field) cover() string {
	b := make([]byte, 0, 512)
	b = append(append(append(b, "v=1;a=ed25519;u="...), f.Purpose...), ";i="...)
	b = append(b32.AppendEncode(b, f.Identity[:]), ";k="...)
	b = append(b64.AppendEncode(b, f.Key[:]), ";t="...)
	b = append(strconv.AppendInt(b, f.Time, 10), ";q="...)
	b = strconv.AppendUint(b, f.Q, 10)
	for _, tag := range [...]struct {
		name string
		d    *Digest
	}{{";p=", f.P}, {";n=", f.N}, {";o=", f.O}, {";bh=", &f.BH}} {
		if tag.d != nil {
			b = b64.AppendEncode(append(b, tag.name...), tag.d[:])
		}
	}
	return string(b)
}

// Value writes the field's value folded at 78 columns, for behind
// "Article-Signature: ": tags are not broken, but for b.
func (f *Field) Value() string {
	out := make([]byte, 0, 420)
	col := len("Article-Signature:")
	if f.covered == "" {
		f.covered = f.cover()
	}
	for tag := range strings.SplitSeq(f.covered, ";") {
		if len(out) > 0 && col+1+len(tag)+1 > 78 {
			out, col = append(out, "\r\n "...), 1
		} else if len(out) > 0 {
			out, col = append(out, ' '), col+1
		} else {
			col++
		}
		out, col = append(append(out, tag...), ';'), col+len(tag)+1
	}
	out, col = append(out, "\r\n b="...), 3
	for sig := b64.EncodeToString(f.B[:]); sig != ""; {
		n := min(len(sig), 78-col)
		out = append(out, sig[:n]...)
		if sig = sig[n:]; sig != "" {
			out, col = append(out, "\r\n "...), 1
		}
	}
	return string(out)
}
