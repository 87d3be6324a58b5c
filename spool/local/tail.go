package local

import (
	"slices"
	"sort"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// tail is what is acknowledged but not yet in the index. There are two: the live
// one, which grows, and the frozen one, which the keeper is writing. Spool.mu
// guards the live one; the frozen one does not change.
type tail struct {
	ids     map[hash]known
	rows    map[uint32][]tailRow // by group, numbers rising
	gone    map[rowPlace]spool.Seq
	expires []expiry
	dirty   map[uint32]bool          // groups whose state changed
	dropped map[uint32]article.Group // groups removed
	regone  map[article.Group]bool   // removed groups whose mark is new, or that were made again
	bytes   int
	began   time.Time // of the first change; zero: empty

	// Set when it is frozen: the state that the index then shows.
	seq    spool.Seq
	meta   uint64
	gid    uint32
	arts   int64
	size   int64
	groups []groupState
	marks  map[article.Group]uint64
	segs   []segState
}

type tailRow struct {
	number uint64
	row    []byte // as in the index
}

type expiry struct {
	at  int64
	seq spool.Seq
}

type groupState struct {
	gid  uint32
	info spool.GroupInfo
}

type segState struct {
	num                 uint32
	places, recs, bytes int64 // dead
}

func newTail() *tail {
	return &tail{ids: map[hash]known{}, rows: map[uint32][]tailRow{}, gone: map[rowPlace]spool.Seq{}, dirty: map[uint32]bool{},
		dropped: map[uint32]article.Group{}, regone: map[article.Group]bool{}}
}

// load is what counts against Config.TailMax.
func (t *tail) load() int { return max(len(t.ids), len(t.gone)) }

func (t *tail) addRow(gid uint32, number uint64, row []byte) {
	rows := t.rows[gid]
	if n := len(rows); n > 0 && rows[n-1].number >= number {
		i := sort.Search(n, func(i int) bool { return rows[i].number >= number })
		rows = slices.Insert(slices.Clone(rows), i, tailRow{number, row})
	} else {
		rows = append(rows, tailRow{number, row})
	}
	t.rows[gid] = rows
	t.bytes += len(row)
}

// row returns the row at a place, nil if it is not here.
func (t *tail) row(p rowPlace) []byte {
	rows := t.rows[p.gid]
	i := sort.Search(len(rows), func(i int) bool { return rows[i].number >= p.number })
	if i < len(rows) && rows[i].number == p.number {
		return rows[i].row
	}
	return nil
}

// from returns the rows with number >= lo.
func (t *tail) from(gid uint32, lo uint64) []tailRow {
	rows := t.rows[gid]
	return rows[sort.Search(len(rows), func(i int) bool { return rows[i].number >= lo }):]
}
