package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Relay is the relaying and serving agent: RFC 5537 §3.6, §3.7. It takes an
// article in wire form that a peer brings, judges it and stores it; its octets
// stay as they are but for Path (our identity in front) and Xref (dropped).
// It keeps wire. When it returns nil the article survives a power cut; an Entry
// without Seq means that it was taken and waits (ARCHITECTURE §4). Errors are a
// *Refusal, or temporary failures.
func (a *Agent) Relay(ctx context.Context, wire []byte, o Origin) (spool.Entry, error) {
	defer o.Conn.Done(o.Turn)
	e, err := a.relay(ctx, wire, o)
	a.counts.add("relay", err)
	return e, err
}

func (a *Agent) relay(ctx context.Context, wire []byte, o Origin) (spool.Entry, error) {
	in := &relaying{Agent: a, o: o, now: a.now(), how: spool.Relayed}
	if err := in.offered(ctx); err != nil {
		return spool.Entry{}, err
	}
	e, err := in.take(ctx, wire)
	if err != nil {
		in.remember(err)
	}
	return e, err
}

// Import takes an article from an archive: Relay without limit of age and
// without consequences; moderated groups ask for no approval. It is filed in
// groups, or, if none are named, in those of Newsgroups that exist.
func (a *Agent) Import(ctx context.Context, wire []byte, o Origin, groups ...article.Group) (spool.Entry, error) {
	in := &relaying{Agent: a, o: o, now: a.now(), how: spool.Imported, only: groups}
	e, err := in.take(ctx, wire)
	a.counts.add("import", err)
	return e, err
}

// relaying is one article on its way in.
type relaying struct {
	*Agent
	o    Origin
	how  spool.How
	only []article.Group
	now  time.Time

	art    *article.Article
	path   string
	peer   Peer
	isPeer bool
	looked bool // history was asked already
	verb   string
	proof  article.Proof
	result string
	hold   time.Time
	infos  []spool.GroupInfo
}

// offered looks at the id that came before the article, and ends its reservation.
func (in *relaying) offered(ctx context.Context) error {
	if in.o.Offered == "" {
		return nil
	}
	if in.Agent.take(in.o.Offered, in.o) {
		in.looked = true
		return nil
	}
	if err := in.unwelcome(ctx, in.o.Offered, in.o); err != nil {
		return err
	}
	in.looked = true
	return nil
}

func (in *relaying) take(ctx context.Context, wire []byte) (spool.Entry, error) {
	none := spool.Entry{}
	names, err := in.parse(ctx, wire)
	if err != nil {
		return none, err
	}
	if err := in.lookUp(ctx); err != nil {
		return none, err
	}
	for _, step := range []func() error{in.loop, in.age} {
		if err := step(); err != nil {
			return none, err
		}
	}
	where, err := in.carried(ctx, names)
	if err != nil {
		return none, err
	}
	if err := in.judge(ctx, names); err != nil {
		return none, err
	}
	if where, err = in.filed(ctx, where); err != nil {
		return none, err
	}
	art := in.stamped()
	if !in.hold.IsZero() {
		return none, in.keepWaiting(ctx, art, where)
	}
	e, err := in.add(ctx, art, spool.Arrival{
		Groups: where, Via: spool.Via{How: in.how, Peer: in.via()}, Proof: in.proof, At: in.now, Expires: expires(art, in.now),
	})
	if err == nil && in.isPeer && in.Kept != nil {
		in.Kept(in.peer.Name, e)
	}
	return e, err
}

// lookUp asks history, unless Want or the offer did.
func (in *relaying) lookUp(ctx context.Context) error {
	switch {
	case in.looked:
		return nil
	case in.how == spool.Imported:
		return in.known(ctx, in.art.ID(), in.o)
	}
	return in.unwelcome(ctx, in.art.ID(), in.o)
}

func (in *relaying) via() string {
	if in.isPeer {
		return in.peer.Name
	}
	return in.o.Door
}

// parse checks the syntax: RFC 5537 §3.6 (5), §3.7 (1); and whose it is.
func (in *relaying) parse(ctx context.Context, wire []byte) ([]article.Group, error) {
	art, err := article.Parse(wire, in.Limits)
	if err != nil {
		return nil, syntaxRefusal(err)
	}
	in.art = art
	names, err := art.Check(in.Limits.Groups)
	if err != nil {
		var s *article.SyntaxError
		if errors.As(err, &s) && (s.Field == "Message-ID" || s.Field == "Path") {
			return nil, malformed("bad-"+strings.ToLower(s.Field), "%v", err)
		}
		return nil, syntaxRefusal(err)
	}
	if o := in.o.Offered; o != "" && o != art.ID() {
		return nil, malformed("bad-message-id", "the article's Message-ID is not the one offered")
	}
	in.path = art.Get("Path")
	in.peer, in.isPeer = in.fromPeer(in.o, pathHead(in.path))
	if in.how == spool.Relayed && !in.isPeer && in.o.Door != "batch" {
		if err := in.May(ctx, in.o, Feed, ""); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// pathHead is the newest path identity: diagnostics and "!!" are passed over.
func pathHead(path string) string {
	for hop := range strings.SplitSeq(path, "!") {
		if hop = strings.Trim(hop, " \t"); hop != "" && hop[0] != '.' {
			return hop
		}
	}
	return ""
}

// loop: RFC 5537 §3.6 (4): our identity is in Path.
func (in *relaying) loop() error {
	if in.how == spool.Relayed && article.InPath(in.path, in.Host) {
		return malformed("path-loop", "Path: the article was here already")
	}
	return nil
}

// age: RFC 5537 §3.6 (2), (3), by Injection-Date if there is one; Date must be
// readable and not ahead in any case. Imported articles may have any date.
func (in *relaying) age() error {
	if in.how == spool.Imported {
		return nil
	}
	old := in.peer.Old || in.o.Door == "batch" && !in.isPeer
	date, err := article.ParseDate(in.art.Overview().Date)
	if err != nil {
		return malformed("date", "Date: no date that can be read")
	}
	if in.art.Has(article.HasInjection) {
		if v := in.art.Get("Injection-Date"); v != "" {
			injected, err := article.ParseDate(v)
			if err != nil {
				return malformed("date", "Injection-Date: no date that can be read")
			}
			if err := in.timely(date, "Date", true); err != nil {
				return err
			}
			return in.timely(injected, "Injection-Date", old)
		}
	}
	return in.timely(date, "Date", old)
}

// carried says in which groups it may be filed: RFC 5537 §3.7 (3), (4).
func (in *relaying) carried(ctx context.Context, names []article.Group) ([]article.Group, error) {
	if in.art.Has(article.HasControl) && in.how != spool.Imported {
		in.verb = controlVerb(in.art.Get("Control"))
		if in.verb == "" {
			return nil, malformed("control", "Control: is empty")
		}
	}
	if len(in.only) > 0 {
		names = in.only
	}
	where, taken, err := in.existing(ctx, names)
	if err != nil {
		return nil, err
	}
	if len(where) == 0 && in.how == spool.Relayed && taken && in.verb == "" {
		if err := in.patience(ctx); err != nil {
			return nil, err
		}
		if where, taken, err = in.existing(ctx, names); err != nil {
			return nil, err
		}
	}
	switch {
	case !taken:
		return nil, &Refusal{Reason: Unwanted, Code: "not-taken", Text: "none of its groups is taken from you"}
	case len(where) == 0 && !groupControl(in.verb):
		return nil, &Refusal{Reason: Unwanted, Code: "no-group", Text: "none of its groups is carried here"}
	}
	return where, nil
}

// existing filters names by what the peer may bring and what exists.
func (in *relaying) existing(ctx context.Context, names []article.Group) (where []article.Group, taken bool, err error) {
	in.infos = in.infos[:0]
	for _, g := range names {
		if in.isPeer && in.peer.Take != nil && !in.peer.Take(g) {
			continue
		}
		taken = true
		info, err := in.Spool.Group(ctx, g)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, true, fmt.Errorf("look up group: %w", err)
		}
		where = append(where, g)
		in.infos = append(in.infos, info)
	}
	return where, taken, nil
}

// judge verifies, asks the filters and looks at orders and approval.
func (in *relaying) judge(ctx context.Context, names []article.Group) error {
	if err := in.verify(ctx); err != nil {
		return err
	}
	if err := in.cancelled(ctx); err != nil {
		return err
	}
	if in.how == spool.Imported {
		return nil
	}
	o := in.o
	o.Peer = in.peer.Name
	for _, f := range in.Filters {
		if err := f.Check(ctx, in.art, o); err != nil {
			return err
		}
	}
	if groupControl(in.verb) {
		return in.order(ctx, names)
	}
	return nil
}

// verify: pki.md §2.7.
func (in *relaying) verify(ctx context.Context) (err error) {
	in.result = Unsigned
	if in.Keys == nil {
		return nil
	}
	imported := in.how == spool.Imported
	in.proof, in.result, in.hold, err = in.Keys.Verify(ctx, in.art, in.now, imported)
	if in.result == Invalid && !imported {
		return &Refusal{Reason: Unproven, Code: "invalid", Text: fmt.Sprintf("the signature does not hold: %v", err)}
	} else if err != nil && in.result == "" {
		return fmt.Errorf("verify: %w", err)
	}
	if !imported && !in.peer.Old && !(in.o.Door == "batch" && !in.isPeer) {
		return in.signedInTime(&in.proof, in.now)
	}
	return nil
}

// signedInTime refuses an article whose newest signature is older than history reaches
// back: somebody plays it again (pki.md §5.9). It is this copy's fault alone.
func (a *Agent) signedInTime(p *article.Proof, now time.Time) error {
	if a.policy().Cutoff <= 0 || p.State != article.ProofHolds && len(p.Approve) == 0 {
		return nil
	}
	newest := int64(0)
	if p.State == article.ProofHolds {
		newest = p.Time
	}
	for _, ap := range p.Approve {
		newest = max(newest, ap.Time)
	}
	if now.Sub(time.Unix(newest, 0)) > a.policy().Cutoff {
		return &Refusal{Reason: Unproven, Code: "too-old", Text: fmt.Sprintf("it was signed more than %d days ago, which is the limit here", a.policy().Cutoff/day)}
	}
	return nil
}

// filed applies what groups demand: approval (RFC 5537 §3.7 (5)) and known
// signers (pki.md §2.7). Imported articles are filed as they stand.
func (in *relaying) filed(ctx context.Context, where []article.Group) ([]article.Group, error) {
	if in.how == spool.Imported {
		in.hold = time.Time{}
		return where, nil
	}
	if in.verb != "" {
		return in.controlGroup(ctx, in.verb)
	}
	for _, g := range in.infos {
		if g.Status == spool.Moderated && !in.approvedIn(g) {
			return nil, &Refusal{Reason: Unproven, Code: "unapproved", Text: fmt.Sprintf(
				"%s is moderated and the article is not approved by one of its moderators", g.Name)}
		}
	}
	return in.demanded(where)
}

// approvedIn: Approved counts with a moderator's signature, alone only where the
// group says so (contract, `group set NAME --approved field`).
func (in *relaying) approvedIn(g spool.GroupInfo) bool {
	if !in.art.Has(article.HasApproved) {
		return false
	}
	if g.Approved == "field" {
		return true
	}
	return approvedFor(&in.proof, g.Name)
}

// demanded drops the groups that want a known signer if this one is none.
func (in *relaying) demanded(where []article.Group) ([]article.Group, error) {
	if in.Keys == nil || in.result == Verified {
		return where, nil
	}
	out := make([]article.Group, 0, len(where))
	for _, g := range in.infos {
		if req := g.Require; req == "known" || req == "" && in.policy().Require == "known" {
			continue
		}
		out = append(out, g.Name)
	}
	switch {
	case len(out) > 0:
		return out, nil
	case in.result == UnknownKey:
		in.hold = in.now.Add(14 * day)
		return where, nil
	}
	return nil, &Refusal{Reason: Unproven, Code: "require-" + in.result, Text: "its groups take signed articles of known people only"}
}

// stamped is the article with our identity in Path and without Xref:
// RFC 5537 §3.6 (8), (9), §3.2.1.
func (in *relaying) stamped() *article.Article {
	e := article.Edit{PrependPath: in.prefix()}
	if in.art.Has(article.HasXref) {
		e.Drop = []string{"Xref"}
	}
	return in.art.With(e)
}

// prefix is what goes in front of Path. After our identity: "!" if the newest
// hop is the peer that brought it; .MISMATCH.x if it is somebody else, .SEEN.x if
// we cannot tell; x is what we know it by.
func (in *relaying) prefix() string {
	switch {
	case in.how == spool.Imported:
		return in.Host + "!"
	case in.isPeer && strings.EqualFold(pathHead(in.path), in.peer.PathID()):
		return in.Host + "!!"
	case in.isPeer:
		return in.Host + "!.MISMATCH." + diagnosis(in.peer.PathID()) + "!"
	case in.o.Addr.IsValid():
		return in.Host + "!.SEEN." + in.o.Addr.Unmap().WithZone("").String() + "!"
	}
	return in.Host + "!"
}

// diagnosis keeps a configured name within the syntax of Path.
func diagnosis(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c <= 32 || c >= 127 || c == '!' || c == ',' || c == ';' {
			b[i] = '_'
		}
	}
	return string(bytes.Trim(b, "."))
}

// remember keeps a refusal so that the next offer is refused without the article:
// ARCHITECTURE §4 rule 3. What may be the fault of this copy alone is kept for the
// peer that brought it, so that no spoilt copy keeps a good one out.
func (in *relaying) remember(err error) {
	id := in.o.Offered
	if in.art != nil {
		id = in.art.ID()
	}
	var r *Refusal
	if id == "" || !errors.As(err, &r) || in.o.Offered != "" && in.o.Offered != id {
		return
	}
	switch r.Code {
	case "ahead", "path-loop", "bad-path", "bad-message-id", "refused-before", "not-taken":
		return // another peer may hold a good copy, or it becomes one
	}
	switch r.Reason {
	case Unwanted:
		if !promised(id) {
			in.refused.put(refusalKey(id, ""))
			return
		}
	case Unproven, Malformed, TooLarge:
	default:
		return
	}
	if in.o.Peer != "" {
		in.refused.put(refusalKey(id, in.o.Peer))
	}
}

// promised says whether an id names the key that signs its article (pki.md §2.8):
// then a copy without that signature, and what is wrong with it, says nothing.
func promised(id article.ID) bool {
	left, _, _ := strings.Cut(id.Bare(), "@")
	i := strings.LastIndex(left, ".sig-")
	return i >= 0 && len(left)-i == len(".sig-")+20
}
