package local

import (
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// recentOctets bounds what is kept of the last commits: their articles and, each
// counted as entryOctets, their entries.
const (
	recentOctets = 2 << 20
	entryOctets  = 1 << 10
)

// recent is what was committed last, as it was, for those who follow the log: each
// of ten followers would else read and decode the same octets again, and some of
// them open the articles besides. It is a stretch of the log without gaps that ends
// with the newest article, or empty. Spool.mu guards it; what it hands out is shared
// and must not be changed.
type recent struct {
	commits []committed // oldest first
	octets  int
}

// committed is one group commit: Seqs without gaps, from the first entry's on.
type committed struct {
	entries []spool.Entry
	arts    []*article.Article
	octets  int
}

func (c *committed) first() spool.Seq { return c.entries[0].Seq }
func (c *committed) last() spool.Seq  { return c.entries[len(c.entries)-1].Seq }

// add takes over a commit and lets go of the oldest.
func (r *recent) add(good []*request) {
	c := committed{entries: make([]spool.Entry, len(good)), arts: make([]*article.Article, len(good))}
	for i, q := range good {
		c.entries[i], c.arts[i] = q.rec.Entry, q.art
		c.octets += len(q.art.Wire()) + entryOctets
		if i > 0 && c.entries[i].Seq != c.entries[i-1].Seq+1 {
			r.forget()
			return
		}
	}
	if n := len(r.commits); n > 0 && r.commits[n-1].last()+1 != c.first() {
		r.forget()
	}
	r.commits = append(r.commits, c)
	r.octets += c.octets
	drop := 0
	for ; drop < len(r.commits) && r.octets > recentOctets; drop++ {
		r.octets -= r.commits[drop].octets
		r.commits[drop] = committed{}
	}
	r.commits = r.commits[drop:]
}

// forget lets go of everything: nobody followed for a while, or something of it was removed.
func (r *recent) forget() { *r = recent{} }

// removed says that an article is not what it was any more.
func (r *recent) removed(seq spool.Seq) {
	if len(r.commits) > 0 && seq >= r.commits[0].first() {
		r.forget()
	}
}

// find returns the commit that holds seq and its place there, or false.
func (r *recent) find(seq spool.Seq) (*committed, int, bool) {
	for i := len(r.commits) - 1; i >= 0; i-- { // who asks is mostly near the end
		c := &r.commits[i]
		if c.last() < seq {
			return nil, 0, false
		}
		if first := c.first(); first <= seq {
			return c, int(seq - first), true
		}
	}
	return nil, 0, false
}

// since returns the entries of one commit after that Seq, or false if the log must
// be read.
func (r *recent) since(after spool.Seq) ([]spool.Entry, bool) {
	c, at, ok := r.find(after + 1)
	if !ok {
		return nil, false
	}
	return c.entries[at:], true
}

// article returns the article of seq, or nil if it must be read.
func (r *recent) article(seq spool.Seq) *article.Article {
	c, at, ok := r.find(seq)
	if !ok {
		return nil
	}
	return c.arts[at]
}
