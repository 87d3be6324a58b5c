package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
)

// The groups of the directory, after PREFIX.admin.pki. (§7.1).
const (
	groupKeys    = "keys"
	groupArrows  = "arrows"
	groupRevoke  = "revoke"
	groupRequest = "request"
)

// Groups are the names and descriptions of the directory's groups.
func Groups(prefix string) []spool.GroupInfo {
	info := func(last, what string) spool.GroupInfo {
		return spool.GroupInfo{Name: name(prefix, last), Status: spool.PostNone, Description: what, Require: "none", Detach: "never", Creator: "pki"}
	}
	request := info(groupRequest, "Asking for statements, for programs")
	request.Keep = 7 * 24 * time.Hour
	return []spool.GroupInfo{
		info(groupKeys, "Identities and their keys, for programs"),
		info(groupArrows, "Who vouches for whom, for programs"),
		info(groupRevoke, "Keys and rights taken back, for programs"),
		request,
	}
}

func name(prefix, last string) article.Group {
	return article.Group(prefix + ".admin.pki." + last)
}

// MakeGroups makes the groups that are not there yet.
func MakeGroups(ctx context.Context, st spool.Store, prefix string) error {
	if g, err := article.ParseGroup(prefix); err != nil || g.Reserved() {
		return fmt.Errorf("pki.prefix %q can not begin a newsgroup's name (RFC 5536 §3.1.4)", prefix)
	}
	var missing []spool.GroupInfo
	for _, g := range Groups(prefix) {
		if _, err := st.Group(ctx, g.Name); errors.Is(err, spool.ErrNotFound) {
			missing = append(missing, g)
		} else if err != nil {
			return fmt.Errorf("look for %s: %w", g.Name, err)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return st.PutGroups(ctx, missing...)
}

// Filter lets only statements into the directory's groups: an article there names
// no other group, gives no orders, and its body parses (§6.3). It is an agent.Filter.
// What a peer takes back counts when this returns, before anything else that he brings
// is judged; the follower comes to it later.
type Filter struct {
	Prefix string
	Ledger *pki.Ledger
}

// Check refuses what is none of the directory's business.
func (f Filter) Check(_ context.Context, a *article.Article, o agent.Origin) error {
	in, all := ours(f.Prefix, a.Overview().Newsgroups)
	if !in {
		return nil
	}
	refuse := func(text string, err error) error {
		return &agent.Refusal{Reason: agent.Unwanted, Code: "pki-statements", Text: text, Err: err}
	}
	if !all || a.Has(article.HasControl) || a.Has(article.HasSupersedes) {
		return refuse("an article in the key groups names no other group, no Control and no Supersedes", nil)
	}
	list, err := statements(f.Prefix, a)
	if err != nil {
		return refuse("the key groups take statements only", err)
	}
	if o.Peer == "" || strings.TrimSpace(a.Overview().Newsgroups) != string(name(f.Prefix, groupRevoke)) {
		return nil
	}
	if _, err := f.Ledger.Apply(o.Peer, list); err != nil {
		return fmt.Errorf("take in what was revoked: %w", err)
	}
	return nil
}

// Revocations returns the articles of the group for what is taken back that came after
// a place in the log, oldest first; feeds offer them before all else (§7.1).
func Revocations(ctx context.Context, st spool.Store, prefix string, after spool.Seq) (out []spool.Entry, err error) {
	const step = 64 // backwards, step by step: there are few new ones
	g, err := st.Group(ctx, name(prefix, groupRevoke))
	if errors.Is(err, spool.ErrNotFound) {
		return nil, nil
	}
	older := false
	for hi := g.High; err == nil && !older && hi >= max(g.Low, 1); {
		lo := max(g.Low, 1)
		if hi-lo >= step {
			lo = hi - step + 1
		}
		var part []spool.Entry
		for e, bad := range st.Range(ctx, g.Name, lo, hi) {
			if err = bad; err != nil {
				break
			}
			if older = older || e.Seq <= after; e.Seq > after {
				part = append(part, e)
			}
		}
		out = append(part, out...)
		hi = lo - 1
	}
	if err != nil {
		return nil, fmt.Errorf("look for what was revoked: %w", err)
	}
	return out, nil
}

// ours says whether a Newsgroups field names the directory's groups, and no others.
func ours(prefix, newsgroups string) (any, all bool) {
	groups, err := article.LenientGroups(newsgroups, 0)
	all = err == nil
	for _, g := range groups {
		is := strings.HasPrefix(string(g), prefix+".admin.pki.")
		any, all = any || is, all && is
	}
	return any, all
}

// statements reads the body of an article of the directory's groups.
func statements(prefix string, a *article.Article) ([]*pki.Statement, error) {
	body := string(a.Body())
	if strings.TrimSpace(body) == "" {
		if only := string(name(prefix, groupRequest)); strings.TrimSpace(a.Overview().Newsgroups) != only {
			return nil, errors.New("there is no statement")
		}
		return nil, nil
	}
	return pki.ParseStatements(strings.ReplaceAll(body, "\r\n", "\n")) // CRLF is the wire's (§7.1)
}

// Follower applies the statements of articles that arrive. They lie outside the
// spool then, where expiry does not reach them.
type Follower struct {
	Prefix string
	Spool  spool.Store
	Ledger *pki.Ledger
	Told   func(source string, out pki.Outcome) // for the log; may be nil
}

// Name names the saved cursor.
func (*Follower) Name() string { return "pki" }

// Follow applies one article's statements. It may see an article twice.
func (f *Follower) Follow(ctx context.Context, e spool.Entry) error {
	if any, _ := ours(f.Prefix, e.Newsgroups); !any || e.Via.How == spool.Imported {
		return nil
	}
	source := e.Via.Peer
	if e.Via.How == spool.Injected {
		source = "" // the operator's, or this node's own
	}
	stopped, err := f.apply(ctx, e.Seq, source)
	if err != nil || !stopped {
		return err
	}
	_, err = f.Ledger.Later(uint64(e.Seq), source)
	return err
}

// apply takes in the statements of one article and says whether a quota stopped any.
func (f *Follower) apply(ctx context.Context, seq spool.Seq, source string) (stopped bool, err error) {
	a, err := f.Spool.Open(ctx, seq)
	if errors.Is(err, spool.ErrNotFound) {
		return false, nil // expired meanwhile
	} else if err != nil {
		return false, fmt.Errorf("read statements: %w", err)
	}
	list, err := statements(f.Prefix, a)
	if err != nil && len(list) == 0 {
		return false, nil // the filter has refused such articles; older ones may be here
	}
	out, err := f.Ledger.Apply(source, list)
	if err != nil {
		return false, err
	}
	if f.Told != nil {
		f.Told(source, out)
	}
	return out.Count(pki.Stopped) > 0, nil
}

// Retry looks again at the articles whose statements a quota stopped (§7.2), as long
// as their sources' quotas have room. It is called now and then.
func (f *Follower) Retry(ctx context.Context) error {
	full := map[string]bool{}
	for after := uint64(0); ; {
		seqs, sources, err := f.Ledger.Waiting(after, 100)
		if err != nil || len(seqs) == 0 {
			return err
		}
		for i, seq := range seqs {
			after = seq
			if full[sources[i]] {
				continue
			}
			stopped, err := f.apply(ctx, spool.Seq(seq), sources[i])
			if err != nil {
				return err
			}
			if full[sources[i]] = stopped; stopped {
				continue
			}
			if err := f.Ledger.NotLater(seq); err != nil {
				return err
			}
		}
	}
}
