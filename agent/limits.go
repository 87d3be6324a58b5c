package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/members"
)

// posted says whether an article that a filter sees is being posted here: Inject
// hides the peer from filters.
func posted(o Origin) bool {
	return o.Peer == "" && o.Door != "batch" && o.Door != "import"
}

// poster is whom limits are counted against: the account, else the address (of
// IPv6 its /64). The operator and gateways have none, nor has an address of
// loopback: it says nothing about who it is.
func poster(o Origin) string {
	a := o.Addr.Unmap().WithZone("")
	switch {
	case o.Door == "control" || o.Door == "feed":
		return ""
	case o.Account != "":
		return "account " + o.Account
	case !a.IsValid() || loopback(o):
		return ""
	case a.Is6():
		p, _ := a.Prefix(64)
		return "address " + p.String()
	}
	return "address " + a.String()
}

func loopback(o Origin) bool { return o.Addr.Unmap().IsLoopback() }

// maxMeters bounds the posters that limits remember.
const maxMeters = 1 << 14

// PostRate limits how fast one account or address posts: a bucket of Burst posts
// that fills with PerHour an hour. Programs on the machine itself are not held.
type PostRate struct {
	PerHour int // 0: 120
	Burst   int // 0: 60
	Now     func() time.Time

	mu sync.Mutex
	m  map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// Set changes rate and burst while the filter works; 0 as in the fields.
func (f *PostRate) Set(perHour, burst int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.PerHour, f.Burst = perHour, burst
}

// Check is a Filter.
func (f *PostRate) Check(_ context.Context, _ *article.Article, o Origin) error {
	who := poster(o)
	if who == "" || !posted(o) || loopback(o) {
		return nil
	}
	now := clock(f.Now)
	f.mu.Lock()
	defer f.mu.Unlock()
	rate, burst := float64(orInt(int64(f.PerHour), 120))/3600, float64(orInt(int64(f.Burst), 60))
	b := f.m[who]
	if b == nil {
		if f.m == nil || len(f.m) >= maxMeters {
			f.m = make(map[string]*bucket)
		}
		b = &bucket{burst, now}
		f.m[who] = b
	}
	b.left = min(burst, b.left+rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.left < 1 {
		wait := time.Duration((1 - b.left) / rate * float64(time.Second))
		return &Refusal{Reason: Busy, Code: "post-rate", Text: fmt.Sprintf("too many posts in a short time, try again in %v", wait.Round(time.Second)+time.Second)}
	}
	b.left--
	return nil
}

func clock(now func() time.Time) time.Time {
	if now != nil {
		return now()
	}
	return time.Now()
}

// DayQuota limits what one account or address posts a day. An account's own
// limits take the place of the general ones, which do not hold programs on the
// machine itself.
type DayQuota struct {
	Most    Usage         // 0: 500 articles, 256 MiB
	Members *members.Book // nil: accounts have no limits of their own
	Ledger  *Ledger

	live atomic.Pointer[Usage] // nil: Most
}

// Set changes Most while the filter works.
func (f *DayQuota) Set(most Usage) { f.live.Store(&most) }

// Check is a Filter.
func (f *DayQuota) Check(ctx context.Context, a *article.Article, o Origin) error {
	who := poster(o)
	if who == "" || !posted(o) {
		return nil
	}
	most := f.Most
	if l := f.live.Load(); l != nil {
		most = *l
	}
	most = Usage{orInt(most.Articles, 500), orInt(most.Octets, 256<<20)}
	if loopback(o) {
		most = Usage{}
	}
	if o.Account != "" && f.Members != nil {
		if m, err := f.Members.Get(ctx, o.Account); err == nil {
			most = Usage{orInt(int64(m.ArticlesDay), most.Articles), orInt(m.OctetsDay, most.Octets)}
		}
	}
	if !f.Ledger.add(who, int64(a.Overview().Bytes), most) {
		return &Refusal{Reason: Busy, Code: "day-quota", Text: "the limit of what you may post in a day is reached, try again tomorrow"}
	}
	return nil
}

// PeerQuota limits what each peer brings a day and what it holds of the disk, as
// its Peer says; over it the answer is "try later", so that nothing is lost.
type PeerQuota struct {
	Peers  Peers
	Ledger *Ledger
	Over   func(peer string) // told that a peer holds more than its share; must not wait. nil: nobody makes room
}

// Check is a Filter.
func (f *PeerQuota) Check(_ context.Context, a *article.Article, o Origin) error {
	if o.Peer == "" || f.Peers == nil {
		return nil
	}
	p, ok := f.Peers.Peer(o.Peer)
	if !ok {
		return nil
	}
	if held := f.Ledger.Held(p.Name).Octets; p.Share > 0 && held > p.Share {
		if f.Over != nil {
			f.Over(p.Name)
		}
		// A little more is taken while its oldest articles go.
		if f.Over == nil || held > p.Share+p.Share/20 {
			return &Refusal{Reason: Busy, Code: "peer-share", Text: "your articles fill their share of the disk here, try again later"}
		}
	}
	if !f.Ledger.add("peer "+p.Name, int64(a.Overview().Bytes), p.Day) {
		return &Refusal{Reason: Busy, Code: "peer-quota", Text: "the limit of what is taken from you in a day is reached, try again tomorrow"}
	}
	return nil
}

// Crossposts refuses relayed articles that name too many groups; what is posted
// here has Policy.MaxGroups.
type Crossposts struct{ Most int }

// Check is a Filter.
func (f Crossposts) Check(_ context.Context, a *article.Article, _ Origin) error {
	if f.Most > 0 && strings.Count(a.Overview().Newsgroups, ",") >= f.Most {
		return &Refusal{Reason: Unwanted, Code: "crosspost", Text: fmt.Sprintf("posted to over %d groups", f.Most)}
	}
	return nil
}

// Banned refuses articles by words and posters. It compares what a reader sees,
// without regard to case: encoded words (RFC 2047), base64, quoted-printable and
// charsets are undone, HTML is read as text; and the octets as they came, too.
type Banned struct{ list atomic.Pointer[banned] }

type banned struct{ words, posters []string }

// Set replaces the lists while the node runs: words that must not stand in
// Subject or body, and texts that must not stand in From. Empty ones are left out.
func (f *Banned) Set(words, posters []string) {
	f.list.Store(&banned{lower(words), lower(posters)})
}

func lower(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, strings.ToLower(s))
		}
	}
	return out
}

// Check is a Filter.
func (f *Banned) Check(_ context.Context, a *article.Article, _ Origin) error {
	l := f.list.Load()
	if l == nil {
		return nil
	}
	o := a.Overview()
	if len(l.posters) > 0 && holds(l.posters, o.From, content.Header(o.From)) {
		return &Refusal{Reason: Unwanted, Code: "banned-poster", Text: "articles of this poster are not taken here"}
	}
	if len(l.words) > 0 && (holds(l.words, o.Subject, content.Header(o.Subject)) || holds(l.words, string(a.WireBody()), content.Of(a).Plain())) {
		return &Refusal{Reason: Unwanted, Code: "banned-word", Text: "holds words that are not taken here"}
	}
	return nil
}

// holds says whether one of texts holds one of words, which are in lower case.
func holds(words []string, texts ...string) bool {
	for _, text := range texts {
		text = strings.ToLower(text)
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
	}
	return false
}
