package webforum

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool/threads"
)

// People is what is known of identities, and what an account may say of others.
type People interface {
	// Person returns what is known; one of whom nothing is known has Status "unknown".
	Person(ctx context.Context, identity string) (Person, error)
	// Vouch signs an arrow, and TakeBack takes those to an identity back and says
	// how many. A password that does not open the identity is ErrSealed; that it is
	// the account's was checked before.
	Vouch(ctx context.Context, v Vouch) error
	TakeBack(ctx context.Context, account, password, identity string) (int, error)
	// Passwd changes a password; the identity goes along.
	Passwd(ctx context.Context, account, old, password string) error
}

// ErrSealed: the account's identity is sealed under another password than its own,
// because an operator set that.
var ErrSealed = errors.New("the identity is sealed under an older password")

// Vouch is what an account says of somebody. Account "" is the node itself.
type Vouch struct {
	Account, Password, Identity string
	Purpose                     string // post, moderate
	Scope                       string // wildmat of groups; "": all
	Depth                       int    // how far the right may be passed on
}

// Person is an identity as this node knows it.
type Person struct {
	Name       string // what this node calls it, or ""
	Node, Here bool   // this node itself; an account of this node
	Status     string // unknown, live, frozen, retired, dead
	Since      time.Time
	Keys       []PersonKey // that spoke for it, the newest first
	Devices    []Right     // keys that speak for it
	By         []Right     // who gives it rights
	For        []Right     // to whom it gives rights, and so on
	MoreBy     int         // left out
	MoreFor    int
	Believed   []Right // what the operator of this node believes it for
}

// PersonKey is a key that speaks or spoke for an identity.
type PersonKey struct {
	Key   string // as statements write it
	Since time.Time
	Ended time.Time // zero: it speaks
	Bad   bool      // it was in wrong hands, or its time was undone
}

// Right is an arrow, seen from one of its ends.
type Right struct {
	Identity string // of the other end, or ""
	Name     string // what this node calls it
	Key      string // of the other end, if it is no identity
	Status   string
	Purpose  string
	Scope    string // "*": all groups
	Depth    int
	Until    time.Time
	Follow   []Right // whom the other end gives rights to
}

type personData struct {
	Identity, Name string
	Groups         []string // the identity in groups of four, to be read aloud
	Mark           trustMark
	Banned         string // who barred it and why
	BanHref        string // "": the visitor may not
	VouchHref      string
	Own            bool
	P              *Person // nil: this node knows nothing of identities
	Standing       string
	Bad            bool // it cannot be relied on
	Since          string
	Keys           [][2]string
	Devices        []rightRow
	By, For        []rightRow
	Believed       []rightRow
	Rows           []hit
	Next           string
}

// rightRow is a right in the visitor's words.
type rightRow struct {
	Href, Who, What, Until, Standing string
	Follow                           []rightRow
}

func isIdentity(id string) bool {
	return len(id) == 52 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// personPage shows what is known of an identity, and its articles.
func (f *Forum) personPage(v *visitor) (*page, error) {
	id := v.r.PathValue("identity")
	if !isIdentity(id) {
		return nil, errPage(http.StatusNotFound, "error.person")
	}
	d := &personData{Identity: id, Own: v.account != nil && v.account.Identity == id}
	for i := 0; i < len(id); i += 4 {
		d.Groups = append(d.Groups, id[i:i+4])
	}
	if err := v.personArticles(d); err != nil {
		return nil, err
	}
	if f.People != nil {
		p, err := f.People.Person(v.ctx, id)
		if err != nil {
			return nil, err
		}
		v.describe(d, &p)
	}
	if f.Ward != nil {
		if n, ok := f.Ward.Banned(id); ok {
			d.Banned = v.tx.T("ban.is", n.Reason, n.By)
		}
		if v.account != nil && v.account.Admin && !d.Own {
			d.BanHref = "/u/" + id + "/ban"
		}
	}
	if f.People != nil && v.account != nil && v.account.Identity != "" && !d.Own {
		d.VouchHref = "/u/" + id + "/vouch"
	}
	title := d.Name
	if title == "" {
		title = id[:8] + "…"
	}
	return &page{visitor: v, Name: "person", Title: title, Data: d, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}, nil
}

// personArticles lists what an identity signed, a page of it.
func (v *visitor) personArticles(d *personData) error {
	list, next, err := v.Threads.BySigner(v.ctx, d.Identity, v.r.URL.Query().Get("from"), hitsPage)
	if err == threads.ErrPage {
		return errPage(http.StatusNotFound, "error.page")
	} else if err != nil {
		return err
	}
	for _, p := range list {
		e, err := v.Spool.ByID(v.ctx, p.ID)
		if err != nil || !v.readable(e) {
			continue
		}
		name, _ := content.Author(e.From)
		if d.Name == "" && e.Proof.Purpose != "gate" { // whose mail a node took over is not its name
			d.Name, d.Mark = name, v.trust(e)
			d.Mark.Word, d.Mark.Href = v.tx.T("trust.word."+d.Mark.Class), "" // the page is of that person
		}
		at := sent(e)
		h := hit{Href: messagePath(p.ID), Subject: subject(e.Subject), Author: name, Date: v.date(at), ISO: at.Format(time.RFC3339)}
		h.Group, h.GroupHref = string(e.Places[0].Group), groupPath(e.Places[0].Group)
		d.Rows = append(d.Rows, h)
	}
	if next != "" {
		d.Next = "?from=" + next
	}
	return nil
}

// describe puts what is known into the visitor's words.
func (v *visitor) describe(d *personData, p *Person) {
	d.P = p
	if p.Name != "" {
		d.Name = p.Name
	}
	d.Standing = v.tx.T("standing." + p.Status)
	d.Bad = p.Status == "frozen" || p.Status == "dead"
	if !p.Since.IsZero() {
		d.Since = v.day(p.Since)
	}
	for _, k := range p.Keys {
		when := v.tx.T("key.speaks", v.day(k.Since))
		switch {
		case k.Bad:
			when = v.tx.T("key.bad", v.day(k.Since))
		case !k.Ended.IsZero():
			when = v.tx.T("key.spoke", v.day(k.Since), v.day(k.Ended))
		}
		d.Keys = append(d.Keys, [2]string{k.Key, when})
	}
	d.Devices, d.By, d.For, d.Believed = v.rights(p.Devices), v.rights(p.By), v.rights(p.For), v.rights(p.Believed)
}

// rights puts rights into words: those of one other end become one row.
func (v *visitor) rights(list []Right) (out []rightRow) {
	for i, r := range list {
		what := v.right(r)
		if i > 0 && list[i-1].Identity == r.Identity && list[i-1].Key == r.Key {
			out[len(out)-1].What += "; " + what
			continue
		}
		row := rightRow{What: what, Who: r.Name, Follow: v.rights(r.Follow)}
		if r.Identity != "" {
			row.Href = "/u/" + r.Identity + "/"
			if row.Who == "" {
				row.Who = r.Identity[:8] + "…"
			}
			if r.Status != "live" && r.Status != "" {
				row.Standing = v.tx.T("standing." + r.Status)
			}
		} else if r.Key != "" {
			row.Who = r.Key
		}
		if !r.Until.IsZero() {
			row.Until = v.tx.T("right.until", v.day(r.Until))
		}
		out = append(out, row)
	}
	return out
}

func (v *visitor) right(r Right) string {
	s := r.Purpose
	if v.tx.has("right." + s) {
		s = v.tx.T("right." + s)
	}
	if r.Scope != "*" && r.Scope != "" {
		s = v.tx.T("right.in", s, r.Scope)
	}
	if r.Depth > 0 {
		s = v.tx.T("right.on", s)
	}
	return s
}

// day writes a date with its year.
func (v *visitor) day(at time.Time) string {
	y, m, d := at.In(v.Zone).Date()
	return v.tx.T("date.year", d, v.tx.month(m), y)
}

type vouchData struct {
	Identity, Name, Action, Back string
	Given                        []rightRow // what the visitor gives already
	Node                         bool       // the visitor may speak for the node
	Moderate                     bool
	Form                         Vouch
	AsNode                       bool
	Error                        string
}

// vouchForm lets an account say that somebody may post or moderate, and take it
// back. It is signed by the account's identity, so the password is asked for; an
// administrator may let the node say it.
func (f *Forum) vouchForm(v *visitor) (*page, error) {
	id := v.r.PathValue("identity")
	switch {
	case !isIdentity(id) || f.People == nil:
		return nil, errPage(http.StatusNotFound, "error.person")
	case v.account == nil || v.account.Identity == "":
		return nil, errPage(http.StatusUnauthorized, "vouch.login")
	case v.account.Identity == id:
		return nil, errPage(http.StatusForbidden, "vouch.self")
	}
	p, err := f.People.Person(v.ctx, id)
	if err != nil {
		return nil, err
	}
	d := &vouchData{Identity: id, Name: p.Name, Action: "/u/" + id + "/vouch", Back: "/u/" + id + "/", Node: v.account.Admin, Form: Vouch{Purpose: "post", Scope: "*"}}
	if d.Name == "" {
		d.Name = id[:8] + "…"
	}
	var own []Right
	for _, r := range p.By {
		if r.Identity == v.account.Identity || d.Node && r.Name == f.Host {
			own = append(own, r)
		}
	}
	d.Given = v.rights(own)
	v.w.Header().Set("Cache-Control", "no-store")
	out := &page{visitor: v, Name: "vouch", Title: v.tx.T("vouch.title", d.Name), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}, {d.Name, d.Back}}}
	if v.r.Method != http.MethodPost {
		return out, nil
	}
	err = v.vouch(d, id)
	if err == nil {
		v.redirect(d.Back)
		return nil, nil
	}
	out.Status, d.Error = http.StatusUnprocessableEntity, v.passwordError(err)
	return out, nil
}

// errPassword: the password that confirms something is wrong.
var errPassword = errors.New("the password is wrong")

// vouch does what the form says.
func (v *visitor) vouch(d *vouchData, id string) error {
	q := v.form()
	d.AsNode = d.Node && q.Get("as") == "node"
	d.Form = Vouch{Account: v.account.Name, Password: q.Get("password"), Identity: id, Purpose: q.Get("purpose"), Scope: strings.TrimSpace(q.Get("scope"))}
	if q.Get("depth") != "" {
		d.Form.Depth = 1
	}
	if d.Form.Purpose != "moderate" {
		d.Form.Purpose = "post"
	}
	if _, err := v.Accounts.Login(v.ctx, v.account.Name, d.Form.Password, v.addr); err != nil {
		v.Log.Info("forum: not confirmed", "account", v.account.Name, "error", err)
		return errPassword
	}
	say := d.Form
	if d.AsNode {
		say.Account, say.Password = "", ""
	}
	if q.Get("act") == "back" {
		n, err := v.People.TakeBack(v.ctx, say.Account, say.Password, id)
		if err == nil && n > 0 {
			v.Log.Info("forum: rights taken back", "by", v.account.Name, "from", id, "arrows", n)
		}
		return err
	}
	v.Log.Info("forum: somebody is vouched for", "by", v.account.Name, "as_node", d.AsNode, "for", id, "purpose", say.Purpose, "scope", say.Scope)
	return v.People.Vouch(v.ctx, say)
}

// passwordError puts into words why something that needs a password was not done.
func (v *visitor) passwordError(err error) string {
	switch {
	case errors.Is(err, errPassword):
		return v.tx.T("password.wrong")
	case errors.Is(err, ErrSealed):
		return v.tx.T("password.sealed")
	}
	return v.tx.T("error.notdone", err.Error())
}

// passwordForm changes an account's password, and ends its other sessions.
func (f *Forum) passwordForm(v *visitor) (*page, error) {
	if v.account == nil || f.People == nil {
		return nil, errPage(http.StatusUnauthorized, "refusal.login")
	}
	v.w.Header().Set("Cache-Control", "no-store")
	out := &page{visitor: v, Name: "password", Title: v.tx.T("password.title"), Data: "", NoIndex: true, Crumbs: []crumb{{v.tx.T("settings"), "/settings"}}}
	if v.r.Method != http.MethodPost {
		return out, nil
	}
	q := v.form()
	old, fresh := q.Get("old"), q.Get("password")
	bad := ""
	if len(fresh) < 8 {
		bad = v.tx.T("start.password.short")
	} else if fresh != q.Get("again") {
		bad = v.tx.T("password.twice")
	} else if _, err := f.Accounts.Login(v.ctx, v.account.Name, old, v.addr); err != nil {
		bad = v.tx.T("password.wrong")
	} else if err := f.People.Passwd(v.ctx, v.account.Name, old, fresh); err != nil {
		bad = v.passwordError(err)
	}
	if bad != "" {
		out.Status, out.Data = http.StatusUnprocessableEntity, bad
		return out, nil
	}
	ended, err := v.endOthers()
	if err != nil {
		return nil, err
	}
	return &page{visitor: v, Name: "notice", Title: v.tx.T("password.done"), Data: [2]string{v.tx.N("password.ended", ended), "/settings"}, NoIndex: true}, nil
}

// endOthers ends the account's sessions but this one, and says how many.
func (v *visitor) endOthers() (int, error) {
	keys, list, err := v.sessions().List("")
	if err != nil {
		return 0, err
	}
	n := 0
	for i, s := range list {
		if s.Account == v.account.Name && keys[i] != sessionKey(v.session) {
			if err := v.sessions().Delete(keys[i]); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}
