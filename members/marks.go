package members

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/litfass/litfass/internal/state"
)

// Range is a run of article numbers, both ends included.
type Range struct{ Lo, Hi uint64 }

// Ranges is a set of article numbers: ordered, disjoint, not touching.
type Ranges []Range

// maxRanges bounds what one account keeps of one group; over it the oldest
// ranges are joined: what lies between them then counts as read.
const maxRanges = 2000

// Has says whether n is in the set.
func (r Ranges) Has(n uint64) bool {
	i, ok := slices.BinarySearchFunc(r, n, func(x Range, n uint64) int {
		switch {
		case x.Hi < n:
			return -1
		case x.Lo > n:
			return 1
		}
		return 0
	})
	return ok && i < len(r)
}

// Count is how many of lo..hi are in the set.
func (r Ranges) Count(lo, hi uint64) uint64 {
	var n uint64
	for _, x := range r {
		if a, b := max(x.Lo, lo), min(x.Hi, hi); a <= b {
			n += b - a + 1
		}
	}
	return n
}

// Add returns the set with lo..hi added; lo > hi adds nothing.
func (r Ranges) Add(lo, hi uint64) Ranges {
	if lo > hi {
		return r
	}
	out := make(Ranges, 0, len(r)+1)
	for _, x := range r {
		switch {
		case x.Hi != ^uint64(0) && x.Hi+1 < lo:
			out = append(out, x)
		case hi != ^uint64(0) && hi+1 < x.Lo:
			if lo <= hi {
				out = append(out, Range{lo, hi})
				lo, hi = 1, 0
			}
			out = append(out, x)
		case lo <= hi:
			lo, hi = min(lo, x.Lo), max(hi, x.Hi)
		default:
			out = append(out, x)
		}
	}
	if lo <= hi {
		out = append(out, Range{lo, hi})
	}
	if n := len(out) - maxRanges; n > 0 {
		out[n] = Range{out[0].Lo, out[n].Hi}
		out = out[n:]
	}
	return out
}

// Del returns the set without lo..hi.
func (r Ranges) Del(lo, hi uint64) Ranges {
	out := make(Ranges, 0, len(r)+1)
	for _, x := range r {
		if lo > hi || x.Hi < lo || x.Lo > hi {
			out = append(out, x)
			continue
		}
		if x.Lo < lo {
			out = append(out, Range{x.Lo, lo - 1})
		}
		if x.Hi > hi {
			out = append(out, Range{hi + 1, x.Hi})
		}
	}
	return out
}

// String writes the set as .newsrc does: "1-5,7,9-12".
func (r Ranges) String() string {
	var b strings.Builder
	for i, x := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(x.Lo, 10))
		if x.Hi > x.Lo {
			b.WriteByte('-')
			b.WriteString(strconv.FormatUint(x.Hi, 10))
		}
	}
	return b.String()
}

// ParseRanges reads what String writes, and what newsreaders write: ranges out
// of order, overlapping, with blanks; 0 is left out.
func ParseRanges(s string) (Ranges, error) {
	var all []Range
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		a, b, dash := strings.Cut(part, "-")
		lo, err := strconv.ParseUint(strings.TrimSpace(a), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no range of article numbers", part)
		}
		hi := lo
		if dash {
			if hi, err = strconv.ParseUint(strings.TrimSpace(b), 10, 63); err != nil {
				return nil, fmt.Errorf("%.40q is no range of article numbers", part)
			}
		}
		if lo = max(lo, 1); lo <= hi {
			all = append(all, Range{lo, hi})
		}
	}
	slices.SortFunc(all, func(x, y Range) int {
		switch {
		case x.Lo < y.Lo:
			return -1
		case x.Lo > y.Lo:
			return 1
		}
		return 0
	})
	var out Ranges
	for _, x := range all {
		if n := len(out); n > 0 && x.Lo <= out[n-1].Hi+1 {
			out[n-1].Hi = max(out[n-1].Hi, x.Hi)
		} else {
			out = append(out, x)
		}
	}
	if n := len(out) - maxRanges; n > 0 {
		out[n] = Range{out[0].Lo, out[n].Hi}
		out = out[n:]
	}
	return out, nil
}

func readKey(account, group string) string { return account + "\x00" + group }

// ReadIn returns which articles of group the account has read.
func (b *Book) ReadIn(_ context.Context, account, group string) (Ranges, error) {
	var text string
	err := b.DB.View(func(tx *state.Tx) error {
		text = string(tx.Get(readBucket, readKey(account, group)))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("what was read: %w", err)
	}
	return ParseRanges(text)
}

// Mark notes lo..hi of group as read, or, with read false, as unread. The
// account must exist.
func (b *Book) Mark(ctx context.Context, account, group string, lo, hi uint64, read bool) error {
	return b.changeRead(ctx, account, group, func(r Ranges) Ranges {
		if read {
			return r.Add(max(lo, 1), hi)
		}
		return r.Del(lo, hi)
	})
}

// MarkMany notes single numbers of group as read, with one write: what a
// newsreader fetched in a session.
func (b *Book) MarkMany(ctx context.Context, account, group string, numbers []uint64) error {
	return b.changeRead(ctx, account, group, func(r Ranges) Ranges {
		for _, n := range numbers {
			r = r.Add(max(n, 1), n)
		}
		return r
	})
}

// SetRead replaces what counts as read in group: import of a .newsrc, catch-up.
func (b *Book) SetRead(ctx context.Context, account, group string, r Ranges) error {
	return b.changeRead(ctx, account, group, func(Ranges) Ranges { return r })
}

func (b *Book) changeRead(_ context.Context, account, group string, f func(Ranges) Ranges) error {
	key := readKey(account, group)
	defer b.changed(account)
	return b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, account) == nil {
			return ErrNotFound
		}
		old := string(tx.Get(readBucket, key))
		r, err := ParseRanges(old)
		if err != nil {
			return fmt.Errorf("what %s read of %s: %w", account, group, err)
		}
		switch text := f(r).String(); text {
		case old:
			return nil
		case "":
			return tx.Delete(readBucket, key)
		default:
			return tx.Put(readBucket, key, []byte(text))
		}
	})
}

// Subscribe puts groups on the account's list, or takes them off.
func (b *Book) Subscribe(_ context.Context, account string, on bool, groups ...string) error {
	return b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, account) == nil {
			return ErrNotFound
		}
		for _, g := range groups {
			var err error
			if on {
				err = tx.Put(subsBucket, readKey(account, g), []byte{1})
			} else {
				err = tx.Delete(subsBucket, readKey(account, g))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Subscriptions returns the groups on the account's list, by name.
func (b *Book) Subscriptions(_ context.Context, account string) ([]string, error) {
	var out []string
	err := b.DB.View(func(tx *state.Tx) error {
		tx.Each(subsBucket, readKey(account, ""), "", func(k string, _ []byte) bool {
			out = append(out, k[len(account)+1:])
			return true
		})
		return nil
	})
	return out, err
}

// maxNewsrcLine bounds a line of a .newsrc, in octets.
const maxNewsrcLine = 1 << 20

// ImportNewsrc reads a .newsrc: "group: 1-5,7" subscribed, "group! 1-5" not. It
// returns how many groups it took. Lines of other forms are passed over.
func (b *Book) ImportNewsrc(ctx context.Context, account string, in io.Reader) (int, error) {
	if _, err := b.Get(ctx, account); err != nil {
		return 0, err
	}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxNewsrcLine)
	n := 0
	for sc.Scan() {
		line := strings.TrimRight(sc.Text(), "\r")
		i := strings.IndexAny(line, ":!")
		if i <= 0 || strings.ContainsAny(line[:i], " \t\x00") {
			continue
		}
		r, err := ParseRanges(line[i+1:])
		if err != nil {
			return n, fmt.Errorf("line of %s: %w", line[:i], err)
		}
		if err := errors.Join(b.SetRead(ctx, account, line[:i], r), b.Subscribe(ctx, account, line[i] == ':', line[:i])); err != nil {
			return n, err
		}
		n++
	}
	return n, sc.Err()
}

// ExportNewsrc writes what ImportNewsrc reads.
func (b *Book) ExportNewsrc(ctx context.Context, account string, out io.Writer) error {
	subs, err := b.Subscriptions(ctx, account)
	if err != nil {
		return err
	}
	lines := make(map[string]string)
	for _, g := range subs {
		lines[g] = ":"
	}
	err = b.DB.View(func(tx *state.Tx) error {
		tx.Each(readBucket, readKey(account, ""), "", func(k string, v []byte) bool {
			g := k[len(account)+1:]
			mark := "!"
			if lines[g] != "" {
				mark = ":"
			}
			lines[g] = mark + " " + string(v)
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	names := make([]string, 0, len(lines))
	for g := range lines {
		names = append(names, g)
	}
	slices.Sort(names)
	w := bufio.NewWriter(out)
	for _, g := range names {
		if _, err := w.WriteString(g + lines[g] + "\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}
