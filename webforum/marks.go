package webforum

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
)

// ranges are the numbers of a group that were read, as a .newsrc writes them:
// sorted, apart from each other.
type ranges [][2]uint64

func parseRanges(s string) ranges {
	var out ranges
	for part := range strings.SplitSeq(s, ",") {
		a, b, two := strings.Cut(part, "-")
		lo, err := strconv.ParseUint(strings.TrimSpace(a), 10, 64)
		if err != nil {
			continue
		}
		hi := lo
		if two {
			if hi, err = strconv.ParseUint(strings.TrimSpace(b), 10, 64); err != nil || hi < lo {
				continue
			}
		}
		out = out.add(lo, hi)
		if len(out) > 2000 {
			break
		}
	}
	return out
}

func (r ranges) String() string {
	var out []byte
	for i, x := range r {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, x[0], 10)
		if x[1] > x[0] {
			out = strconv.AppendUint(append(out, '-'), x[1], 10)
		}
	}
	return string(out)
}

func (r ranges) has(n uint64) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i][1] >= n })
	return i < len(r) && r[i][0] <= n
}

func (r ranges) add(lo, hi uint64) ranges {
	i := sort.Search(len(r), func(i int) bool { return r[i][1]+1 >= lo })
	j := i
	for j < len(r) && r[j][0] <= hi+1 {
		lo, hi = min(lo, r[j][0]), max(hi, r[j][1])
		j++
	}
	return slices.Replace(r, i, j, [2]uint64{lo, hi})
}

// unread counts the numbers between lo and hi that are not among r.
func (r ranges) unread(lo, hi uint64) uint64 {
	if lo == 0 {
		lo = 1
	}
	if hi < lo {
		return 0
	}
	n := hi - lo + 1
	for _, x := range r {
		a, b := max(x[0], lo), min(x[1], hi)
		if a <= b {
			n -= b - a + 1
		}
	}
	return n
}

// marks are what a visitor has read. A member's lie with the account, the same
// that newsreaders use; a guest's in a compressed cookie, newest groups first.
type marks struct {
	v       *visitor
	raw     string      // of the cookie
	guest   []guestMark // read from raw when first asked for: an unchanged page needs none
	opened  bool
	loaded  map[article.Group]ranges
	changed bool
}

type guestMark struct {
	group article.Group
	read  ranges
}

const maxCookie = 3600 // octets; browsers take 4,096 with the name

func newMarks(v *visitor) *marks {
	m := &marks{v: v}
	if v.account != nil {
		return m
	}
	if c, err := v.r.Cookie(readCookie); err == nil && len(c.Value) <= 4096 {
		m.raw = c.Value
	}
	return m
}

// guests are the marks of a guest's cookie.
func (m *marks) guests() []guestMark {
	if m.opened {
		return m.guest
	}
	m.opened = true
	text, err := unpackMarks(m.raw)
	if err != nil {
		return nil
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		name, list, _ := strings.Cut(line, ":")
		if g, err := article.ParseGroup(name); err == nil && len(m.guest) < 500 {
			m.guest = append(m.guest, guestMark{g, parseRanges(list)})
		}
	}
	return m.guest
}

// known says whether the visitor was in the group before: of the others, nothing is
// called unread.
func (m *marks) known(g article.Group) bool { return len(m.of(g)) > 0 }

func (m *marks) of(g article.Group) ranges {
	if r, ok := m.loaded[g]; ok {
		return r
	}
	var r ranges
	if m.v.account != nil {
		s, err := m.v.Accounts.Read(m.v.ctx, m.v.account.Name, g)
		if err != nil {
			m.v.Log.Warn("forum: read marks", "error", err)
		}
		r = parseRanges(s)
	} else {
		for _, x := range m.guests() {
			if x.group == g {
				r = x.read
			}
		}
	}
	m.keep(g, r)
	return r
}

// keep notes what was looked up, for this request.
func (m *marks) keep(g article.Group, r ranges) {
	if m.loaded == nil {
		m.loaded = map[article.Group]ranges{}
	}
	m.loaded[g] = r
}

// set keeps what was read in a group. A guest's marks are written by save.
func (m *marks) set(g article.Group, r ranges) {
	m.keep(g, r)
	if m.v.account != nil {
		if err := m.v.Accounts.SetRead(m.v.ctx, m.v.account.Name, g, r.String()); err != nil {
			m.v.Log.Warn("forum: keep read marks", "error", err)
		}
		return
	}
	m.guest = slices.DeleteFunc(m.guests(), func(x guestMark) bool { return x.group == g })
	m.guest = append([]guestMark{{g, r}}, m.guest...)
	m.changed = true
}

// read marks numbers of a group; it returns whether that is news.
func (m *marks) read(g article.Group, numbers ...uint64) bool {
	r, news := slices.Clone(m.of(g)), false
	for _, n := range numbers {
		if n > 0 && !r.has(n) {
			r, news = r.add(n, n), true
		}
	}
	if news {
		m.set(g, r)
	}
	return news
}

// save writes a guest's cookie. If all does not fit, groups that were not seen for
// long give way, and in the others single numbers: what lies below the last few
// counts as read. So the cookie's size and the work are bounded.
func (m *marks) save() {
	if !m.changed || m.v.account != nil {
		return
	}
	m.changed = false
	keep := slices.Clone(m.guest)
	for i := range keep {
		if r := keep[i].read; len(r) > maxGaps {
			keep[i].read = append(ranges{{r[0][0], r[len(r)-maxGaps][1]}}, r[len(r)-maxGaps+1:]...)
		}
	}
	for len(keep) > 0 {
		s, err := packMarks(keep)
		if err != nil {
			m.v.Log.Warn("forum: pack read marks", "error", err)
			return
		}
		if len(s) <= maxCookie {
			m.v.setCookie(readCookie, s, 365*24*time.Hour)
			return
		}
		keep = keep[:min(len(keep)-1, len(keep)*maxCookie/len(s))]
	}
}

const maxGaps = 40 // ranges of one group in a cookie

// packMarks writes marks for a cookie: "0" and plain lines while they are few, "1"
// and compressed lines.
func packMarks(list []guestMark) (string, error) {
	var text []byte
	for _, x := range list {
		text = append(append(append(append(text, x.group...), ':'), x.read.String()...), '\n')
	}
	if len(text) < 600 {
		return "0" + base64.RawURLEncoding.EncodeToString(text), nil
	}
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, 6)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(text); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return "1" + base64.RawURLEncoding.EncodeToString(z.Bytes()), nil
}

func unpackMarks(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s[1:])
	if err != nil || s[0] != '1' {
		return b, err
	}
	return io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 64<<10))
}
