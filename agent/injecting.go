package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Inject is the injecting agent: RFC 5537 §3.5. It takes a proto-article, fills
// in what is missing, detaches, signs, and stores it, or lets it wait for a
// moderator. The draft belongs to Inject and is changed. When it returns nil the
// article survives a power cut. Errors are a *Refusal, or temporary failures.
func (a *Agent) Inject(ctx context.Context, d *article.Draft, o Origin) (Result, error) {
	r, err := a.inject(ctx, d, o)
	a.counts.add("inject", err)
	return r, err
}

// injection is one proto-article on its way.
type injection struct {
	*Agent
	d      *article.Draft
	o      Origin
	acc    *Access
	groups []spool.GroupInfo // those of Newsgroups that are carried here
	signed bool              // it came with a signature
	now    time.Time
	dated  bool // Message-ID and Date were there
	used   string
	waits  bool // moderated and not approved
}

func (a *Agent) inject(ctx context.Context, d *article.Draft, o Origin) (Result, error) {
	in := &injection{Agent: a, d: d, o: o, now: a.now()}
	for _, step := range []func(context.Context) error{in.who, in.syntax, in.may, in.filter, in.fill, in.detach, in.lines, in.sign} {
		if err := step(ctx); err != nil {
			return Result{}, err
		}
	}
	if in.waits {
		return in.wait(ctx)
	}
	return in.store(ctx)
}

// who: RFC 5537 §3.5 (1).
func (in *injection) who(ctx context.Context) (err error) {
	in.acc, err = in.Access(ctx, in.o)
	return err
}

// may decides in which groups: RFC 5537 §3.5 (4), (7).
func (in *injection) may(ctx context.Context) error {
	names, err := article.ParseGroups(in.d.Get("Newsgroups"), 0)
	if err != nil {
		return syntaxRefusal(err)
	}
	control := controlVerb(in.d.Get("Control"))
	var unknown []string
	var moderated int
	for _, g := range names {
		info, err := in.Spool.Group(ctx, g)
		if errors.Is(err, spool.ErrNotFound) {
			unknown = append(unknown, string(g))
			continue
		} else if err != nil {
			return fmt.Errorf("look up group: %w", err)
		}
		if err := in.acc.MayPost(ctx, info); err != nil && control == "" {
			return err
		} else if err != nil {
			if err := in.acc.May(ctx, Create, g); err != nil {
				return err
			}
		}
		if info.Status == spool.Moderated {
			moderated++
		}
		in.groups = append(in.groups, info)
	}
	if len(in.groups) == 0 && !groupControl(control) {
		return &Refusal{Reason: Unwanted, Code: "no-group", Text: fmt.Sprintf(
			"%s: not carried here; groups you may post to: LIST ACTIVE", brief(unknown))}
	}
	if err := in.orders(ctx, control, names); err != nil {
		return err
	}
	in.waits = moderated > 0 && in.d.Get("Approved") == "" && control == ""
	return in.approved(ctx, names)
}

// orders checks the right to control messages: RFC 5537 §5. A cancel needs none
// to be posted, only to be obeyed.
func (in *injection) orders(ctx context.Context, verb string, names []article.Group) error {
	switch {
	case verb == "" || verb == "cancel":
		return nil
	case !groupControl(verb):
		return &Refusal{Reason: Denied, Code: "control", Text: "Control: " + brief([]string{verb}) + ": is obsolete, no server obeys it"}
	}
	var target []article.Group
	if args := strings.Fields(in.d.Get("Control")); verb == "checkgroups" {
		s, err := readScope(args[1:], names)
		if err != nil {
			return err
		}
		target = append(s.in, names...)
	} else {
		if len(args) < 2 {
			return &Refusal{Reason: Malformed, Code: "control", Text: "Control: " + verb + " needs a group's name"}
		}
		g, err := article.ParseGroup(args[1])
		if err != nil {
			return syntaxRefusal(err)
		}
		if verb == "newgroup" && g.Reserved() {
			return &Refusal{Reason: Denied, Code: "reserved-name", Text: "the name " + args[1] + " is reserved (RFC 5536 §3.1.4)"}
		}
		target = []article.Group{g}
	}
	for _, g := range target {
		if err := in.acc.May(ctx, Create, g); err != nil {
			return err
		}
	}
	return nil
}

// approved checks the right to say Approved: in the moderated groups named, or,
// where there are none, in all.
func (in *injection) approved(ctx context.Context, names []article.Group) error {
	if in.d.Get("Approved") == "" || groupControl(controlVerb(in.d.Get("Control"))) || in.signedApproval() {
		return nil
	}
	var where []article.Group
	for _, g := range in.groups {
		if g.Status == spool.Moderated {
			where = append(where, g.Name)
		}
	}
	if where == nil {
		where = names
	}
	for _, g := range where {
		err := in.acc.May(ctx, Moderate, g)
		var r *Refusal
		if errors.As(err, &r) {
			return &Refusal{Reason: r.Reason, Code: "approved", Text: fmt.Sprintf(
				"only a moderator of %s may set Approved; leave it out and the article goes to the moderator", g)}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// signedApproval says whether the draft came with a moderator's signature to a
// moderated group: then approvedBy asks for his right, not for the sender's.
func (in *injection) signedApproval() bool {
	return in.signed && in.Keys != nil && in.approvalSigned() && in.moderated()
}

// approvedBy asks that each moderated group is approved by the signature of somebody
// who moderates there, or that the sender does: pki.md §2.6 (6).
func (in *injection) approvedBy(ctx context.Context, p *article.Proof) error {
	for _, g := range in.groups {
		if g.Status != spool.Moderated || approvedFor(p, g.Name) {
			continue
		}
		err := in.acc.May(ctx, Moderate, g.Name)
		var r *Refusal
		if errors.As(err, &r) {
			return &Refusal{Reason: Unproven, Code: "unapproved", Text: fmt.Sprintf("%s is moderated and the article is not approved by one of its moderators", g.Name)}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// approvedFor says whether a signature approves for a group.
func approvedFor(p *article.Proof, g article.Group) bool {
	for _, ap := range p.Approve {
		if slices.Contains(ap.Right, g) {
			return true
		}
	}
	return false
}

// filter asks the filters, about the article as it is before detaching.
func (in *injection) filter(ctx context.Context) error {
	if len(in.Filters) == 0 {
		return nil
	}
	art, err := preview(in.d, in.Limits)
	if err != nil {
		return syntaxRefusal(err)
	}
	o := in.o
	o.Peer = "" // a peer's connection may post too: that is no relaying
	for _, f := range in.Filters {
		if err := f.Check(ctx, art, o); err != nil {
			return err
		}
	}
	return nil
}

// fill writes Message-ID and Date if they are missing: RFC 5537 §3.5 (8), and
// the fields in the one-line form that signatures want (pki.md §2.2).
func (in *injection) fill(ctx context.Context) error {
	in.dated = in.d.Get("Message-ID") != "" && in.d.Get("Date") != ""
	if in.signed {
		for _, name := range [...]string{"Message-ID", "Date"} {
			if in.d.Get(name) == "" {
				return &Refusal{Reason: Malformed, Code: "signed-without", Text: "a signed article must bring its own " + name + ": the signature covers it"}
			}
		}
	} else if err := in.complete(ctx); err != nil {
		return err
	}
	id := article.ID(in.d.Get("Message-ID"))
	return in.known(ctx, id, Origin{})
}

func (in *injection) complete(ctx context.Context) error {
	for _, name := range [...]string{"Newsgroups", "Followup-To", "Distribution"} {
		if v := in.d.Get(name); v != "" && v != list(v) {
			in.d.Set(name, list(v))
		}
	}
	h, err := in.chooseKey(ctx)
	if err != nil {
		return err
	}
	if in.d.Get("Message-ID") == "" {
		id, err := in.newID(h)
		if err != nil {
			return err
		}
		in.d.Set("Message-ID", string(id))
	} else {
		in.d.Set("Message-ID", in.d.Get("Message-ID"))
	}
	if in.d.Get("Date") == "" {
		in.d.Set("Date", article.FormatDate(in.now))
	}
	return nil
}

// list writes a list with commas as others want it: without blanks, empty parts
// and what stands in it twice.
func list(v string) string {
	parts := strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	out := parts[:0]
	for _, p := range parts {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return strings.Join(out, ",")
}

// chooseKey asks who will sign.
func (in *injection) chooseKey(ctx context.Context) (h string, err error) {
	if in.Keys == nil {
		return "", nil
	}
	purpose := PurposePost
	switch {
	case in.d.Get("Control") != "":
		purpose = PurposeControl
	case in.o.Account == "":
		purpose = PurposeGate
	}
	h, in.used, err = in.Keys.Signer(ctx, in.o.Account, purpose)
	if err != nil {
		return "", fmt.Errorf("choose the signing key: %w", err)
	}
	if h == "" {
		in.used = ""
	}
	return h, nil
}

const letters = "0123456789abcdefghijklmnopqrstuvwxyz"

// newID makes <UNIQUE@HOST>, or <UNIQUE.sig-H@HOST> for an article that will be
// signed with the key of that H: pki.md §2.8. UNIQUE has 20 letters and digits,
// 100 bits.
func (a *Agent) newID(h string) (article.ID, error) {
	var b [20]byte
	if err := a.random(b[:]); err != nil {
		return "", fmt.Errorf("make a Message-ID: %w", err)
	}
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	left := string(b[:])
	if h != "" {
		left += ".sig-" + h
	}
	return article.ID("<" + left + "@" + a.Host + ">"), nil
}

// detach moves large parts into torrents, never out of a signed article.
func (in *injection) detach(ctx context.Context) error {
	if in.signed || in.Detach == nil {
		return nil
	}
	names := make([]article.Group, 0, len(in.groups))
	for _, g := range in.groups {
		if g.Detach == "never" {
			return nil
		}
		names = append(names, g.Name)
	}
	if err := in.Detach.Detach(ctx, in.d, names); err != nil {
		return err
	}
	return nil
}

// sign signs, or verifies what came signed.
func (in *injection) sign(ctx context.Context) error {
	if in.Keys == nil {
		return nil
	}
	if !in.signed && in.used != "" {
		if err := in.Keys.SignDraft(ctx, in.d, in.o.Account, in.used); err != nil {
			return fmt.Errorf("sign: %w", err)
		}
	}
	if in.d.Get("Approved") != "" && in.moderated() && !in.approvalSigned() {
		if err := in.Keys.SignDraft(ctx, in.d, in.o.Account, PurposeApprove); err != nil {
			return fmt.Errorf("sign the approval: %w", err)
		}
	}
	return nil
}

func (in *injection) moderated() bool {
	return slices.ContainsFunc(in.groups, func(g spool.GroupInfo) bool { return g.Status == spool.Moderated })
}

// approvalSigned says whether the moderator's own program signed his approval.
func (in *injection) approvalSigned() bool {
	for _, f := range in.d.Header {
		if strings.EqualFold(f[0], "Article-Signature") && strings.Contains(f[1], "u=approve") {
			return true
		}
	}
	return false
}

// store traces the article and adds it: RFC 5537 §3.5 (9) to (12).
func (in *injection) store(ctx context.Context) (Result, error) {
	if err := in.lock(); err != nil {
		return Result{}, err
	}
	in.trace()
	return in.finish(ctx)
}

// finish builds, proves and adds.
func (in *injection) finish(ctx context.Context) (Result, error) {
	art, err := in.build()
	if err != nil {
		return Result{}, err
	}
	proof, err := in.prove(ctx, art)
	if err != nil {
		return Result{}, err
	}
	where, err := in.places(ctx)
	if err != nil {
		return Result{}, err
	}
	e, err := in.add(ctx, art, spool.Arrival{
		Groups: where, Via: spool.Via{How: spool.Injected, Peer: in.o.Door},
		Proof: proof, At: in.now, Expires: expires(art, in.now),
	})
	if err != nil {
		return Result{}, err
	}
	return Result{ID: art.ID(), Entry: e}, nil
}

// places are the groups to file in: those carried, or the control group.
func (in *injection) places(ctx context.Context) ([]article.Group, error) {
	if verb := controlVerb(in.d.Get("Control")); verb != "" {
		return in.controlGroup(ctx, verb)
	}
	var out []article.Group
	for _, g := range in.groups {
		out = append(out, g.Name)
	}
	return out, nil
}

func (in *injection) build() (*article.Article, error) {
	art, err := in.d.Build(in.Limits)
	if err != nil {
		return nil, syntaxRefusal(err)
	}
	if n := longLine(art.Wire()); n > 0 {
		return nil, tooLong("", n)
	}
	return art, nil
}

func tooLong(where string, line int) error {
	return &Refusal{Reason: Malformed, Code: "long-line", Text: fmt.Sprintf(
		"line %d%s has over 998 octets (RFC 5536 §2.2); let your program wrap it or send it quoted-printable", line, where)}
}

// lines refuses a body with over-long lines before it is signed, which is wrong of
// the article and not of this node.
func (in *injection) lines(context.Context) error {
	if _, err := in.d.Body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	r := bufio.NewReaderSize(in.d.Body, 4096)
	for n := 1; ; n++ {
		text, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("read the body: %w", err)
		}
		if len(bytes.TrimRight(text, "\r\n")) > maxLine {
			return tooLong(" of the body", n)
		}
		if err != nil {
			return nil
		}
	}
}

// prove verifies what was signed, here or by the poster.
func (in *injection) prove(ctx context.Context, art *article.Article) (article.Proof, error) {
	if in.Keys == nil {
		return article.Proof{}, nil
	}
	p, result, hold, err := in.Keys.Verify(ctx, art, in.now, false)
	if err := provenOr(result, hold, err); err != nil {
		return p, err
	}
	if err := in.signedInTime(&p, in.now); err != nil {
		return p, err
	}
	if in.signedApproval() {
		if err := in.approvedBy(ctx, &p); err != nil {
			return p, err
		}
	}
	return p, in.demand(result)
}

// Appraise says what the signature of a draft that came signed is worth if it is
// posted now: one of the words of Keys.Verify, Unsigned if signatures are not looked
// at here. A signature that does not hold, or is dated ahead, is a *Refusal.
func (a *Agent) Appraise(ctx context.Context, d *article.Draft) (string, error) {
	if a.Keys == nil {
		return Unsigned, nil
	}
	in := &injection{Agent: a, d: d, now: a.now(), signed: true}
	art, err := in.build()
	if err != nil {
		return "", err
	}
	_, result, hold, err := a.Keys.Verify(ctx, art, in.now, false)
	return result, provenOr(result, hold, err)
}

// provenOr turns what Keys.Verify found wrong into a refusal.
func provenOr(result string, hold time.Time, err error) error {
	switch {
	case result == Invalid:
		return &Refusal{Reason: Unproven, Code: "invalid", Text: fmt.Sprintf("the signature does not hold: %v", err)}
	case result == NoRight && err != nil:
		return &Refusal{Reason: Busy, Code: "rate", Text: err.Error()}
	case err != nil:
		return fmt.Errorf("verify: %w", err)
	case !hold.IsZero():
		return &Refusal{Reason: Unwanted, Code: "ahead", Text: "the time of the signature lies ahead of this node's clock, so it can not be judged; check both clocks"}
	}
	return nil
}

// demand refuses what a group that wants known signers does not take: pki.md §2.7.
func (in *injection) demand(result string) error {
	if result == Verified || in.d.Get("Control") != "" {
		return nil
	}
	for _, g := range in.groups {
		if g.Require == "known" || g.Require == "" && in.policy().Require == "known" {
			return &Refusal{Reason: Unproven, Code: "require-" + result, Text: fmt.Sprintf(
				"%s takes articles of known people only; log in, or ask the operator to trust your key", g.Name)}
		}
	}
	return nil
}

// trace writes Path, Injection-Date and Injection-Info: RFC 5537 §3.5 (9)-(11).
func (in *injection) trace() {
	source := ".POSTED"
	if in.o.Addr.IsValid() {
		source += "." + in.o.Addr.Unmap().WithZone("").String()
	}
	rest := in.d.Get("Path")
	if rest == "" {
		rest = "not-for-mail"
	}
	in.d.Set("Path", in.Host+"!"+source+"!"+rest)
	// An article with Message-ID and Date may be offered to several injecting
	// agents, so it gets no Injection-Date: RFC 5537 §3.4.2, §3.5 (11).
	if in.d.Get("Injection-Date") == "" && !in.dated {
		in.d.Set("Injection-Date", article.FormatDate(in.now))
	}
	info := in.Host
	if in.o.Account != "" {
		info += `; posting-account="` + quote(in.o.Account) + `"`
	}
	if in.o.Addr.IsValid() {
		info += `; posting-host="` + in.o.Addr.Unmap().WithZone("").String() + `"`
	}
	in.d.Set("Injection-Info", info)
}

// quote makes s fit for a quoted-string of one line.
func quote(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 32 || r == '"' || r == '\\' || r == 127 {
			return '_'
		}
		return r
	}, s)
}

// add stores and translates the spool's errors.
func (a *Agent) add(ctx context.Context, art *article.Article, in spool.Arrival) (spool.Entry, error) {
	e, err := a.Spool.Add(ctx, art, in)
	switch {
	case err == nil:
		return e, nil
	case errors.Is(err, spool.ErrDuplicate):
		return e, duplicate()
	case errors.Is(err, spool.ErrFull):
		return e, &Refusal{Reason: Busy, Code: "full", Text: "no room for articles at the moment, try later", Err: err}
	case errors.Is(err, spool.ErrNotFound):
		return e, &Refusal{Reason: Busy, Code: "group-gone", Text: "a group was removed just now, try again", Err: err}
	}
	return e, fmt.Errorf("add %s: %w", art.ID(), err)
}

// expires is the Expires field if it is later than arrival, else zero.
func expires(art *article.Article, at time.Time) time.Time {
	if !art.Has(article.HasExpires) {
		return time.Time{}
	}
	t, err := article.ParseDate(art.Get("Expires"))
	if err != nil || !t.After(at) {
		return time.Time{}
	}
	return t
}

// brief joins names for a text, cut to what fits a status line.
func brief(names []string) string {
	s := strings.Join(names, ",")
	if len(s) > 120 {
		s = s[:120] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < 32 || r == 127 {
			return '?'
		}
		return r
	}, s)
}
