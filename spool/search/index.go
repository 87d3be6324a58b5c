package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/index/scorch/mergeplan"
	"github.com/blevesearch/bleve/v2/mapping"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
)

// Spool is the slice of spool.Store that the index reads.
type Spool interface {
	Open(ctx context.Context, seq spool.Seq) (*article.Article, error)
	Lookup(ctx context.Context, id article.ID) (spool.State, error)
	Last() spool.Seq
}

// batchSize is how many articles, and batchText how much text in octets, are written
// at once: more is faster and costs memory, some 60 times the text while it is
// worked on.
const (
	batchSize = 256
	batchText = 512 << 10
)

// linger is how long articles that come alone wait for others, so that not each
// costs a segment and its sync. A search does not wait: it has them written.
const linger = 10 * time.Second

// maxText is how much of an article is indexed, in octets.
const maxText = 64 << 10

// version is part of the folder's name: another mapping grows another index.
const version = "4"

// Index is a full-text index on disk. It is a spool.Follower, and safe for
// concurrent use.
type Index struct {
	spool Spool
	index bleve.Index

	mu     sync.Mutex
	writer *writer
	batch  *bleve.Batch
	text   int       // octets in the batch
	most   int       // of these
	last   spool.Seq // in the batch
	began  time.Time // the batch
	log    spool.Seq // its end when the batch began
	done   spool.Seq // written
	fail   error     // of a late write: the next Follow returns it and is told again
	later  *time.Timer
	shut   bool

	untidy  int    // articles written since tidy began
	tidying func() // stops it; nil: it does not run
	tasks   sync.WaitGroup

	asking sync.Mutex
	asked  *writer // the lexica of questions
}

// Open opens the index in dir, or makes it; one that cannot be opened is thrown
// away. fresh says that it is empty and wants the log from the beginning.
func Open(dir string, s Spool) (x *Index, fresh bool, err error) {
	path := filepath.Join(dir, "v"+version)
	b, err := bleve.OpenUsing(path, storeConfig())
	if err != nil {
		if err := os.RemoveAll(dir); err != nil {
			return nil, false, fmt.Errorf("remove a broken search index: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, false, fmt.Errorf("make the search index: %w", err)
		}
		fresh = true
		b, err = bleve.NewUsing(path, indexMapping(), scorch.Name, scorch.Name, storeConfig())
		if err != nil {
			return nil, false, fmt.Errorf("make the search index: %w", err)
		}
	}
	x = &Index{spool: s, index: b, batch: b.NewBatch(), writer: newWriter(), asked: newWriter(), most: batchText}
	x.later = time.AfterFunc(linger, x.late)
	x.later.Stop()
	return x, fresh, nil
}

// Bound sets how much text, in octets, is written at once, 1 to 512 KiB: about 60
// times as much memory is taken while it is worked on.
func (x *Index) Bound(text int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.most = max(1, min(text, batchText))
}

// late writes articles that came alone, and forgets what makes many go faster.
func (x *Index) late() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.shut {
		x.fail = errors.Join(x.fail, x.flush())
		x.batch, x.writer = x.index.NewBatch(), newWriter()
		x.tidyLater()
	}
}

// Flush writes what waits for more.
func (x *Index) Flush() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.shut {
		return nil
	}
	err := x.flush()
	if err != nil {
		x.fail = err
	}
	return err
}

// storeConfig keeps merging cheap: bleve counts a segment of less than
// FloorSegmentSize documents (2,000 by default) as one of that size, so that every
// batch was merged into the largest segment at once. With the size of a batch as
// floor, each article is merged about once per factor of ten of the index.
func storeConfig() map[string]any {
	plan := mergeplan.DefaultMergePlanOptions
	return map[string]any{"scorchMergePlanOptions": map[string]any{
		"MaxSegmentsPerTier": plan.MaxSegmentsPerTier, "MaxSegmentSize": plan.MaxSegmentSize, "TierGrowth": plan.TierGrowth,
		"SegmentsPerMergeTask": plan.SegmentsPerMergeTask, "FloorSegmentSize": batchSize, "ReclaimDeletesWeight": plan.ReclaimDeletesWeight,
	}}
}

// The fields of a document. text holds subject and body.
const (
	fieldText  = "text"
	fieldSubj  = "subject"
	fieldFrom  = "from"
	fieldGroup = "group"
	fieldDate  = "date" // y2026, m202611, d20261124
	fieldTime  = "time" // seconds since 1970 as hexadecimal digits, for sorting
)

// indexMapping says that nothing is indexed by reflection: documents come whole.
func indexMapping() mapping.IndexMapping {
	m := bleve.NewIndexMapping()
	m.DefaultMapping, m.StoreDynamic, m.IndexDynamic, m.DocValuesDynamic = bleve.NewDocumentDisabledMapping(), false, false, false
	return m
}

// Name names the cursor.
func (x *Index) Name() string { return "search" }

// Done is up to which article all is written; the cursor is saved from it.
func (x *Index) Done() spool.Seq {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done
}

// Follow takes an article up. It is written with the next full batch, or when it
// has waited long enough for one; Done tells.
func (x *Index) Follow(ctx context.Context, e spool.Entry) error {
	rest, err := x.follow(ctx, e)
	if rest > 0 {
		t := time.NewTimer(rest)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return err
}

// While articles are coming in the index rests after each batch: analysing one costs
// ten times what its intake does, and intake must not wait for that. It rests
// restTimes as long as the batch took for each time that as many articles came in
// meanwhile as were indexed, so a trickle does not hold it up, and at most maxTimes.
const (
	restTimes = 3
	maxTimes  = 12
	maxRest   = 2 * time.Second
)

// restAfter is how long to rest after a batch of n articles that took d, while grown
// articles came in.
func restAfter(d time.Duration, n, grown int) time.Duration {
	times := min(float64(restTimes)*float64(grown)/float64(max(n, 1)), maxTimes)
	return min(time.Duration(times*float64(d)), maxRest)
}

// follow is Follow without the rest that it asks for.
func (x *Index) follow(ctx context.Context, e spool.Entry) (rest time.Duration, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.fail; err != nil {
		x.fail = nil
		return 0, err
	}
	if e.Seq <= x.last {
		return 0, nil
	}
	begins := x.batch.Size() == 0
	if begins {
		x.began, x.log = time.Now(), x.spool.Last()
	}
	if e.Has&article.HasControl == 0 {
		a, err := x.spool.Open(ctx, e.Seq)
		switch {
		case errors.Is(err, spool.ErrNotFound): // gone meanwhile
		case err != nil:
			return 0, fmt.Errorf("open article %d for the search index: %w", e.Seq, err)
		default:
			doc, octets := x.writer.document(e, a)
			x.text += octets
			if err := x.batch.IndexAdvanced(doc); err != nil {
				return 0, spool.Permanent(fmt.Errorf("index %s: %w", e.ID, err))
			}
		}
	}
	x.last = e.Seq
	if x.batch.Size() == 0 {
		x.done = x.last
	}
	if n := x.batch.Size(); n >= batchSize || x.text >= x.most {
		if err := x.flush(); err != nil {
			return 0, err
		}
		return restAfter(time.Since(x.began), n, int(x.spool.Last()-x.log)), nil
	} else if begins && x.batch.Size() > 0 {
		x.later.Reset(linger)
	}
	return 0, nil
}

// flush writes the batch. x.mu is held.
func (x *Index) flush() error {
	x.text = 0
	if n := x.batch.Size(); n > 0 {
		if err := x.index.Batch(x.batch); err != nil {
			x.last = x.done // told again from here
			x.batch.Reset()
			return fmt.Errorf("write the search index: %w", err)
		}
		x.batch.Reset()
		x.untidy += n
	}
	x.done = x.last
	return nil
}

// document is what is indexed of an article, and how much text that is in octets.
func (w *writer) document(e spool.Entry, a *article.Article) (doc *document.Document, octets int) {
	subject := content.Header(e.Subject)
	text := content.Of(a).Plain()
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	when := e.Arrived
	if t, err := article.ParseDate(e.Date); err == nil && t.Before(e.Arrived) && t.Year() > 1970 {
		when = t
	}
	when = when.UTC()
	lang := w.lexica[language(text)]
	body := newField(fieldText, withPlaces, len(text)/8)
	subj := newField(fieldSubj, withCounts, 8)
	from := newField(fieldFrom, withCounts, 4)
	group, date, at := newField(fieldGroup, only, len(e.Places)), newField(fieldDate, only, 3), newField(fieldTime, sorting, 1)
	end := 0
	each(subject, func(word []byte, place int) {
		if t := lang.term(word); t.text != "" {
			subj.add(t, nil)
			body.add(t, w.places.at(place))
		}
		end = place
	})
	each(text, func(word []byte, place int) {
		if t := lang.term(word); t.text != "" {
			body.add(t, w.places.at(end+1+place)) // no phrase goes on from the subject
		}
	})
	each(content.Header(e.From), func(word []byte, _ int) { from.add(w.lexica[""].term(word), nil) })
	for _, p := range e.Places {
		group.word(string(p.Group))
	}
	for _, layout := range dateTokens {
		date.word(when.Format(layout))
	}
	at.word(timeKey(when))
	body.octets = len(subject) + len(text)
	doc = document.NewDocument(string(e.ID))
	for _, f := range [...]*field{body, subj, from, group, date, at} {
		if len(f.terms) > 0 {
			doc.AddField(f)
		}
	}
	return doc, body.octets
}

// dateTokens are what a date is found by: its year, month and day.
var dateTokens = [...]string{"y2006", "m200601", "d20060102"}

func timeKey(t time.Time) string { return fmt.Sprintf("%010x", uint64(max(0, t.Unix()))) }

// writer makes documents of articles.
type writer struct {
	lexica map[string]*lexicon // by language; "": names
	places places
}

func newWriter() *writer {
	w := &writer{lexica: map[string]*lexicon{"": newLexicon("")}}
	for _, l := range languages {
		w.lexica[l] = newLexicon(l)
	}
	return w
}

// languages are those whose stems are known. A text in another one is taken for
// English, which does little harm.
var languages = [...]string{"de", "en"}

// Count is how many articles are indexed.
func (x *Index) Count() (uint64, error) { return x.index.DocCount() }

// Sweep removes at most limit articles that the spool has no longer, beginning at
// offset; it returns where to go on, 0 at the end.
func (x *Index) Sweep(ctx context.Context, offset, limit int) (next int, err error) {
	req := bleve.NewSearchRequestOptions(bleve.NewMatchAllQuery(), limit, offset, false)
	req.SortBy([]string{"_id"})
	res, err := x.index.SearchInContext(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("sweep the search index: %w", err)
	}
	batch := x.index.NewBatch()
	for _, h := range res.Hits {
		st, err := x.spool.Lookup(ctx, article.ID(h.ID))
		if err != nil {
			return 0, err
		}
		if st != spool.Stored {
			batch.Delete(h.ID)
		}
	}
	if err := x.index.Batch(batch); err != nil {
		return 0, fmt.Errorf("sweep the search index: %w", err)
	}
	if len(res.Hits) < limit {
		return 0, nil
	}
	return offset + limit - batch.Size(), nil
}

// Close writes what is left and closes the files.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.shut {
		return nil
	}
	x.shut = true
	x.later.Stop()
	if x.tidying != nil {
		x.tidying()
	}
	err := errors.Join(x.flush(), x.index.Close())
	x.mu.Unlock()
	x.tasks.Wait()
	x.mu.Lock()
	return err
}
