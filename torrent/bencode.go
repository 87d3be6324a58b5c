package torrent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Bounds of the bencode reader (BEP 3). They hold before anything is allocated:
// a string's claimed length is compared with what is there.
const (
	bencodeDepth = 24      // nested lists and dictionaries
	bencodeItems = 1 << 18 // values in all: 10,000 files of 16 components need fewer
)

var errBencode = errors.New("bencode")

// bval is one bencoded value: an integer, a string, a list or a dictionary.
type bval struct {
	kind byte   // 'i', 's', 'l', 'd'
	num  int64  // of an integer
	str  []byte // of a string
	raw  []byte // the octets it was read from
	sub  []bval // a list's values; a dictionary's keys and values in turn
}

type bparser struct {
	in     []byte
	at     int
	items  int
	sorted bool // every dictionary's keys came in order and every number in its one form
}

// parseBencode reads one value that fills b. canonical says whether writing it
// again gives b: BEP 3 wants that, some programs do not keep to it. Two equal
// keys in a dictionary are an error: readers would differ in which one counts.
func parseBencode(b []byte) (v bval, canonical bool, err error) {
	p := bparser{in: b, sorted: true}
	v, err = p.value(0)
	if err == nil && p.at != len(b) {
		err = p.fail("%d octets follow the value", len(b)-p.at)
	}
	return v, p.sorted, err
}

func (p *bparser) fail(format string, args ...any) error {
	return fmt.Errorf("%w at octet %d: %s", errBencode, p.at, fmt.Sprintf(format, args...))
}

func (p *bparser) value(depth int) (bval, error) {
	if depth > bencodeDepth {
		return bval{}, p.fail("nested deeper than %d", bencodeDepth)
	}
	if p.items++; p.items > bencodeItems {
		return bval{}, p.fail("more than %d values", bencodeItems)
	}
	if p.at >= len(p.in) {
		return bval{}, p.fail("ends in the middle")
	}
	start := p.at
	var v bval
	var err error
	switch c := p.in[p.at]; {
	case c == 'i':
		p.at++
		v.kind = 'i'
		v.num, err = p.number('e', true)
	case c >= '0' && c <= '9':
		v.kind = 's'
		v.str, err = p.text()
	case c == 'l' || c == 'd':
		p.at++
		v.kind = c
		v.sub, err = p.container(c, depth+1)
	default:
		err = p.fail("no value begins with %q", c)
	}
	v.raw = p.in[start:p.at]
	return v, err
}

// number reads digits up to the octet end.
func (p *bparser) number(end byte, signed bool) (int64, error) {
	n := p.at
	for n < len(p.in) && n-p.at <= 20 && p.in[n] != end {
		n++
	}
	if n >= len(p.in) || p.in[n] != end {
		return 0, p.fail("number without end")
	}
	s := string(p.in[p.at:n])
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !signed && i < 0 || s[0] == '+' {
		return 0, p.fail("%q is no number", s)
	}
	if strconv.FormatInt(i, 10) != s {
		p.sorted = false
	}
	p.at = n + 1
	return i, nil
}

func (p *bparser) text() ([]byte, error) {
	n, err := p.number(':', false)
	if err != nil {
		return nil, err
	}
	if n > int64(len(p.in)-p.at) {
		return nil, p.fail("string of %d octets, %d are left", n, len(p.in)-p.at)
	}
	s := p.in[p.at : p.at+int(n)]
	p.at += int(n)
	return s, nil
}

func (p *bparser) container(kind byte, depth int) ([]bval, error) {
	var sub []bval
	for {
		if p.at >= len(p.in) {
			return nil, p.fail("ends in the middle")
		}
		if p.in[p.at] == 'e' {
			break
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		if kind == 'd' && len(sub)%2 == 0 && v.kind != 's' {
			return nil, p.fail("a dictionary's key is no string")
		}
		sub = append(sub, v)
	}
	p.at++
	if kind == 'd' {
		return sub, p.keys(sub)
	}
	return sub, nil
}

// keys checks a dictionary's keys: complete pairs, no two alike.
func (p *bparser) keys(sub []bval) error {
	if len(sub)%2 != 0 {
		return p.fail("a dictionary's last key has no value")
	}
	inOrder := true
	for i := 2; i < len(sub); i += 2 {
		inOrder = inOrder && string(sub[i-2].str) < string(sub[i].str)
	}
	if inOrder {
		return nil
	}
	p.sorted = false
	names := make([]string, 0, len(sub)/2)
	for i := 0; i < len(sub); i += 2 {
		names = append(names, string(sub[i].str))
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i-1] == names[i] {
			return p.fail("the key %.40q occurs twice", names[i])
		}
	}
	return nil
}

// get returns a dictionary's value for key, of that kind.
func (v bval) get(key string, kind byte) (bval, bool) {
	if v.kind == 'd' {
		for i := 0; i < len(v.sub); i += 2 {
			if string(v.sub[i].str) == key {
				return v.sub[i+1], v.sub[i+1].kind == kind
			}
		}
	}
	return bval{}, false
}

// text returns a dictionary's string for key, or "".
func (v bval) text(key string) string {
	s, _ := v.get(key, 's')
	return string(s.str)
}

// encode appends the value in BEP 3's one form: keys sorted.
func (v bval) encode(dst []byte) []byte {
	switch v.kind {
	case 'i':
		return appendInt(dst, v.num)
	case 's':
		return appendText(dst, string(v.str))
	case 'l':
		dst = append(dst, 'l')
		for _, s := range v.sub {
			dst = s.encode(dst)
		}
	case 'd':
		order := make([]int, 0, len(v.sub)/2)
		for i := 0; i < len(v.sub); i += 2 {
			order = append(order, i)
		}
		slices.SortFunc(order, func(a, b int) int {
			if string(v.sub[a].str) < string(v.sub[b].str) {
				return -1
			}
			return 1
		})
		dst = append(dst, 'd')
		for _, i := range order {
			dst = v.sub[i+1].encode(v.sub[i].encode(dst))
		}
	}
	return append(dst, 'e')
}

func appendInt(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, 'i'), n, 10), 'e')
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(append(strconv.AppendInt(dst, int64(len(s)), 10), ':'), s...)
}
