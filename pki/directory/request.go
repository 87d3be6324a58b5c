package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
)

// Bounds of asking and answering (§7.1).
const (
	requestIDs    = 20             // identities that one article asks for, or that are read of one
	requestsHour  = 4              // articles of ours, and rounds of the neighbours' directories
	answersHour   = 60             // identities whose statements are posted again
	askAgain      = 24 * time.Hour // the same identity
	answerAgain   = 6 * time.Hour
	requestWait   = time.Minute // at least, before asking or answering; by chance twice as long
	requestsNoted = 1000        // identities that are asked for or answered at one time
	answerMost    = 100         // statements that introduce one identity
)

// Requests asks the mesh for identities by whom articles are signed and of whom
// nothing is known, and answers what others ask, by articles (§7.1). It waits before
// either: mostly the statements come by themselves, or another node answers. What is
// planned lies in memory; who still wants to know after a restart asks again.
type Requests struct {
	Prefix  string
	Host    string // the address in From is pki@Host
	Spool   spool.Store
	Publish *Publisher
	Fetch   func(context.Context) // asks the neighbours' directories first; may be nil
	Log     *slog.Logger
	Now     func() time.Time

	mu      sync.Mutex
	asks    plans
	answers plans
	keys    map[pki.ID]pki.Key // that is to be known of what is asked for
	wake    chan struct{}
}

// plans are identities that something is to be done about, each not again for a while,
// so many in an hour.
type plans struct {
	due  map[pki.ID]time.Time
	done map[pki.ID]time.Time // until when it is done
	hour time.Time
	left int
}

// plan notes an identity, unless that was done a while ago, or it is noted.
func (p *plans) plan(id pki.ID, now time.Time) bool {
	if p.due == nil {
		p.due, p.done = map[pki.ID]time.Time{}, map[pki.ID]time.Time{}
	}
	if _, planned := p.due[id]; planned || now.Before(p.done[id]) || len(p.due)+len(p.done) >= requestsNoted && !p.forget(now) {
		return false
	}
	p.due[id] = now.Add(requestWait + rand.N(requestWait))
	return true
}

// forget makes room: what was done long ago may be done again.
func (p *plans) forget(now time.Time) bool {
	for id, until := range p.done {
		if !now.Before(until) {
			delete(p.done, id)
		}
	}
	return len(p.due)+len(p.done) < requestsNoted
}

// settle notes that nothing is to be done about id until then, by whomever it was done.
func (p *plans) settle(id pki.ID, until time.Time) {
	if delete(p.due, id); p.done != nil {
		p.done[id] = until
	}
}

// ripe takes out up to most of what is due.
func (p *plans) ripe(now time.Time, most int, rest time.Duration) (out []pki.ID) {
	for id, due := range p.due {
		if len(out) < most && !now.Before(due) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b pki.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range out {
		p.settle(id, now.Add(rest))
	}
	return out
}

// allow says how many more there may be in this hour.
func (p *plans) allow(now time.Time, most int) int {
	if now.Sub(p.hour) >= time.Hour || now.Before(p.hour) {
		p.hour, p.left = now, most
	}
	return p.left
}

// next is when something is due; the zero time: nothing is.
func (p *plans) next() (at time.Time) {
	for _, due := range p.due {
		if at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

// Unknown notes that an article came that is signed by a key of which nothing is known.
func (r *Requests) Unknown(id pki.ID, k pki.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asks.plan(id, r.Now()) {
		return
	}
	if r.keys == nil {
		r.keys = map[pki.ID]pki.Key{}
	}
	r.keys[id] = k
	r.stir()
}

// stir wakes Run; r.mu is held.
func (r *Requests) stir() {
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Name names the saved cursor.
func (*Requests) Name() string { return "pki-requests" }

// Follow learns what others ask for, and what was answered. It may see an article twice.
func (r *Requests) Follow(ctx context.Context, e spool.Entry) error {
	if e.Via.How != spool.Relayed {
		return nil
	}
	switch strings.TrimSpace(e.Newsgroups) {
	case string(name(r.Prefix, groupRequest)):
		return r.asked(ctx, e)
	case string(name(r.Prefix, groupKeys)), string(name(r.Prefix, groupRevoke)):
		return r.answered(ctx, e)
	}
	return nil
}

// asked plans the answer for those that are known here; the others need not be asked
// for by this node too.
func (r *Requests) asked(ctx context.Context, e spool.Entry) error {
	a, err := r.Spool.Open(ctx, e.Seq)
	if err != nil {
		return gone(err)
	}
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range idsIn(a.Get("Keywords")) {
		if _, status := r.Publish.Ledger.Standing(id); status != pki.Unheard {
			r.answers.plan(id, now)
		} else if _, mine := r.asks.due[id]; mine {
			r.asks.settle(id, now.Add(askAgain))
			delete(r.keys, id)
		}
	}
	r.stir()
	return nil
}

// answered forgets the answers that another node has given.
func (r *Requests) answered(ctx context.Context, e spool.Entry) error {
	r.mu.Lock()
	none := len(r.answers.due) == 0
	r.mu.Unlock()
	if none {
		return nil
	}
	a, err := r.Spool.Open(ctx, e.Seq)
	if err != nil {
		return gone(err)
	}
	list, err := statements(r.Prefix, a)
	if err != nil {
		return nil // the filter has refused such articles
	}
	about := idsIn(a.Get("Keywords"))
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range list {
		if _, planned := r.answers.due[s.ID]; planned && s.Type == pki.TypeIncept && slices.Contains(about, s.ID) {
			r.answers.settle(s.ID, now.Add(answerAgain))
		}
	}
	return nil
}

// gone is nil for an article that is not there any more.
func gone(err error) error {
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("read what others ask for: %w", err)
}

// idsIn reads the identities of a Keywords field.
func idsIn(text string) (out []pki.ID) {
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n' }) {
		if id, err := pki.ParseID(word); err == nil && !slices.Contains(out, id) {
			if out = append(out, id); len(out) == requestIDs {
				break
			}
		}
	}
	return out
}

// Run asks and answers until ctx ends. It is one goroutine's work.
func (r *Requests) Run(ctx context.Context) {
	r.mu.Lock()
	if r.wake == nil {
		r.wake = make(chan struct{}, 1)
	}
	wake := r.wake
	r.mu.Unlock()
	for {
		if err := r.Once(ctx); err != nil && ctx.Err() == nil && r.Log != nil {
			r.Log.Warn("statements could not be asked for or answered", "error", err)
		}
		var alarm <-chan time.Time
		if wait, any := r.pause(); any {
			alarm = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-alarm:
		}
	}
}

// pause is how long nothing is due; after what was not allowed, a minute at least.
func (r *Requests) pause() (wait time.Duration, any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	for _, at := range []time.Time{r.asks.next(), r.answers.next()} {
		if at.IsZero() {
			continue
		}
		w := at.Sub(now)
		if w <= 0 {
			w = requestWait
		}
		if !any || w < wait {
			wait, any = w, true
		}
	}
	return wait, any
}

// Once does what is due.
func (r *Requests) Once(ctx context.Context) error {
	return errors.Join(r.ask(ctx), r.answer(ctx))
}

// ask looks for what is still unknown in the neighbours' directories, and asks for what
// is unknown then.
func (r *Requests) ask(ctx context.Context) error {
	now := r.Now()
	r.mu.Lock()
	var ids []pki.ID
	if r.asks.allow(now, requestsHour) > 0 {
		ids = r.lacking(r.asks.ripe(now, requestIDs, askAgain))
	}
	if len(ids) > 0 {
		r.asks.left--
	}
	r.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	if r.Fetch != nil {
		r.Fetch(ctx)
	}
	r.mu.Lock()
	ids = r.lacking(ids)
	for _, id := range ids {
		delete(r.keys, id)
	}
	r.mu.Unlock()
	if len(ids) == 0 || ctx.Err() != nil {
		return nil
	}
	return r.post(ctx, ids)
}

// lacking leaves those of which the key is still not known; r.mu is held.
func (r *Requests) lacking(ids []pki.ID) (out []pki.ID) {
	for _, id := range ids {
		if r.Publish.Ledger.Lacks(id, r.keys[id]) {
			out = append(out, id)
		} else {
			delete(r.keys, id)
		}
	}
	return out
}

// keywords names identities in a Keywords field, one a line.
func keywords(ids []pki.ID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = "id:" + id.String()
	}
	return strings.Join(words, ",\r\n ")
}

func (r *Requests) post(ctx context.Context, ids []pki.ID) error {
	d := &article.Draft{
		Header: [][2]string{
			{"From", "pki <pki@" + r.Host + ">"}, {"Newsgroups", string(name(r.Prefix, groupRequest))},
			{"Subject", fmt.Sprintf("asking for %d identities", len(ids))}, {"Keywords", keywords(ids)},
			{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=us-ascii"},
		},
		Body: bytes.NewReader(nil),
	}
	if _, err := r.Publish.Agent.Inject(ctx, d, agent.Origin{Door: "control"}); err != nil {
		return fmt.Errorf("ask for statements: %w", err)
	}
	return nil
}

// answer posts the statements of what others asked for and nobody answered.
func (r *Requests) answer(ctx context.Context) error {
	now := r.Now()
	r.mu.Lock()
	ids := r.answers.ripe(now, min(requestIDs, r.answers.allow(now, answersHour)), answerAgain)
	r.answers.left -= len(ids)
	r.mu.Unlock()
	var rows []pki.Row
	twice := map[pki.Digest]bool{}
	for _, id := range ids {
		list, err := r.Publish.Ledger.Introduction(id, answerMost)
		if err != nil {
			return fmt.Errorf("answer for id:%s: %w", id, err)
		}
		for _, s := range list {
			if !twice[s.Digest()] {
				twice[s.Digest()] = true
				rows = append(rows, pki.Row{Statement: s})
			}
		}
	}
	return r.Publish.rows(ctx, rows, keywords(ids))
}
