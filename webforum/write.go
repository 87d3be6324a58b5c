package webforum

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
)

const (
	maxField = 512 << 10 // octets of one text field
	maxFiles = 20
)

type writeData struct {
	composed
	Heading     string
	Action      string
	Group       string
	Once        string
	Errors      []formError
	Hints       []hint
	Hinted      bool // the urgent ones were said
	Preview     template.HTML
	PreviewOf   string
	Captcha     string
	Question    string
	MaxSize     string
	MaxOctets   int64
	Waiting     bool
	Reply, Edit bool
	Crossposted []string // where an answer goes, if that is more than the group or Asked
	Asked       bool     // the author of what is answered chose these groups
	Poster      bool     // he wants answers by mail, to ByMail
	ByMail      string
	LostFiles   bool
	Kept        []keptFile // of the version that is edited
	Draft       string     // when it was kept, in words
	Seen        string     // its tag, for script
	Drafts      []draftRow // others of the same form
	CanKeep     bool
	CanWatch    bool
	Watch       bool

	answers string // the text that is answered, as a reply begins with it
	thread  article.Group
}

type formError struct{ Field, Text string }

// Error is the message of one field, "" if it is well.
func (d *writeData) Error(field string) string {
	for _, e := range d.Errors {
		if e.Field == field {
			return e.Text
		}
	}
	return ""
}

func (f *Forum) postForm(v *visitor) (*page, error) {
	g, err := v.group(v.r.PathValue("group"))
	if err != nil {
		return nil, err
	}
	if err := v.mustPost(g); err != nil {
		return nil, err
	}
	d := &writeData{Heading: v.tx.T("post.new", g.Name), Action: groupPath(g.Name) + "/post", Group: string(g.Name)}
	d.Groups, d.thread, d.Watch = string(g.Name), g.Name, true
	if v.r.Method == http.MethodGet {
		return v.writeForm(d, 0)
	}
	return v.take(d)
}

// mustPost stops a visitor before he writes what would be refused.
func (v *visitor) mustPost(g spool.GroupInfo) error {
	if v.account == nil && v.Anonymous != "post" {
		return errPage(http.StatusUnauthorized, "post.login")
	}
	return v.Agent.Postable(v.ctx, v.origin(), g)
}

func (f *Forum) replyForm(v *visitor) (*page, error) {
	e, a, g, err := v.answered()
	if err != nil {
		return nil, err
	}
	if err := v.mustPost(g); err != nil {
		return nil, err
	}
	author, _ := content.Author(e.From)
	d := &writeData{Heading: v.tx.T("reply.to", author), Action: messagePath(e.ID) + "/reply", Group: string(g.Name), Reply: true}
	d.Subject = "Re: " + subject(e.Subject)
	d.References = append(article.ParseReferences(e.References), e.ID)
	d.Groups, d.thread = e.Newsgroups, g.Name
	d.answers = v.quote(a, author)
	d.follow(a, g.Name)
	if v.r.Method == http.MethodGet {
		d.Body = d.answers
		return v.writeForm(d, 0)
	}
	return v.take(d)
}

// follow sends an answer where the author wants it (RFC 5536 §3.2.6), else to the
// groups of what is answered, and says so.
func (d *writeData) follow(a *article.Article, here article.Group) {
	fu := strings.TrimSpace(a.Get("Followup-To"))
	if strings.EqualFold(fu, "poster") { // by mail; who answers here all the same does it knowingly
		to := a.Get("Reply-To")
		if to == "" {
			to = a.Get("From")
		}
		d.Poster = true
		_, d.ByMail = content.Author(to)
	} else if fu != "" {
		d.Groups, d.Asked = fu, true
	}
	gs, err := article.LenientGroups(d.Groups, 0)
	if err != nil {
		d.Groups, d.Asked = string(here), false
		return
	}
	if len(gs) > 1 || d.Asked {
		for _, g := range gs {
			d.Crossposted = append(d.Crossposted, string(g))
		}
	}
}

// answered is the article a form is about, and a group of it that the visitor reads.
func (v *visitor) answered() (e spool.Entry, a *article.Article, g spool.GroupInfo, err error) {
	if e, err = v.entry(v.r.PathValue("id")); err != nil {
		return e, nil, g, err
	}
	if a, err = v.Spool.Open(v.ctx, e.Seq); err != nil {
		return e, nil, g, err
	}
	for _, p := range e.Places {
		if v.mayRead(p.Group) {
			g, err = v.Spool.Group(v.ctx, p.Group)
			return e, a, g, err
		}
	}
	return e, nil, g, errPage(http.StatusNotFound, "error.article")
}

// editForm replaces an own article by a new one: Supersedes (RFC 5536 §3.2.12).
func (f *Forum) editForm(v *visitor) (*page, error) {
	e, a, g, err := v.answered()
	if err != nil {
		return nil, err
	}
	if !v.owns(e, a.Get("Cancel-Lock")) {
		return nil, errPage(http.StatusForbidden, "edit.notyours")
	}
	d := &writeData{Heading: v.tx.T("edit.title"), Action: messagePath(e.ID) + "/edit", Group: string(g.Name), Edit: true}
	d.Subject, d.Groups, d.Supersedes = strings.TrimSpace(content.Header(e.Subject)), e.Newsgroups, e.ID
	d.References = append(article.ParseReferences(e.References), e.ID) // what answers the old one stays in one thread with the new
	c := content.Of(a)
	d.thread, d.Kept = g.Name, v.keptFiles(c)
	if v.r.Method == http.MethodGet {
		d.Body = unflow(c)
		d.Name, d.Email = content.Author(e.From)
		if strings.HasSuffix(d.Email, ".invalid") {
			d.Email = ""
		}
		return v.writeForm(d, 0)
	}
	return v.take(d)
}

// unflow is an article's text as its author would edit it.
func unflow(c *content.Content) string {
	var b strings.Builder
	for _, x := range c.Blocks(nil) {
		mark := strings.Repeat(">", x.Depth)
		if x.Kind == content.Signature {
			b.WriteString("-- \n")
		}
		for l := range strings.SplitSeq(x.Text, "\n") {
			if mark != "" {
				l = strings.TrimRight(mark+" "+l, " ")
			}
			b.WriteString(l + "\n")
		}
		b.WriteString("\n")
	}
	return strings.TrimSpace(b.String()) + "\n"
}

type deleteData struct {
	post
	Action string
}

// deleteForm takes an own article back: a cancel (RFC 5537 §5.3).
func (f *Forum) deleteForm(v *visitor) (*page, error) {
	e, a, _, err := v.answered()
	if err != nil {
		return nil, err
	}
	if !v.owns(e, a.Get("Cancel-Lock")) {
		return nil, errPage(http.StatusForbidden, "edit.notyours")
	}
	if v.r.Method == http.MethodGet {
		d := &deleteData{post: post{ID: e.ID.Bare(), Anchor: anchor(e.ID), Href: messagePath(e.ID)}, Action: messagePath(e.ID) + "/delete"}
		v.fill(&d.post, e, a)
		return &page{visitor: v, Name: "delete", Title: v.tx.T("delete.title"), Data: d, NoIndex: true}, nil
	}
	if err := v.makeSecret(); err != nil {
		return nil, err
	}
	c := &composed{Subject: "cmsg cancel " + string(e.ID), Groups: e.Newsgroups, Cancel: e.ID, Body: v.tx.T("delete.body")}
	v.author(c)
	if _, err := v.inject(c); err != nil {
		return nil, err
	}
	v.redirect(groupPath(e.Places[0].Group))
	return nil, nil
}

// take reads a form that was sent, and posts it, keeps it, shows a preview, or says
// what is wrong.
func (v *visitor) take(d *writeData) (*page, error) {
	fields, err := v.fields(&d.composed)
	defer d.close()
	if err != nil {
		return nil, err
	}
	v.fillForm(d, fields)
	if fields["fix"] != "" {
		v.fix(fields["fix"], &d.composed, d.answers)
		fields["body"], fields["subject"], fields["preview"] = d.Body, d.Subject, "1"
	}
	if fields["preview"] != "" || fields["keep"] != "" {
		if v.keepsDrafts() {
			var err error
			switch d.Seen, err = v.keepDraft(d.Action, d.Heading, d.Once, fields); {
			case errors.Is(err, members.ErrFull):
				d.Errors = append(d.Errors, formError{"", v.tx.T("draft.full")})
			case err != nil:
				return nil, err
			default:
				d.Draft = v.tx.T("draft.kept", v.now.In(v.Zone).Format("15:04"))
			}
		}
		d.LostFiles = len(d.files) > 0
		if fields["keep"] != "" {
			return v.writeForm(d, 0)
		}
		v.check(d)
		return v.preview(d)
	}
	v.check(d)
	if len(d.Errors) == 0 && len(d.files) == 0 && !d.Hinted {
		for _, h := range v.hints(&d.composed, d.answers) {
			if h.Urgent && (h.Name != "empty" || len(d.keep(fields)) == 0) {
				d.Hints = append(d.Hints, h)
			}
		}
		if len(d.Hints) > 0 {
			d.Hinted = true
			return v.writeForm(d, http.StatusUnprocessableEntity)
		}
	}
	if v.needsCaptcha() && (fields["website"] != "" || !v.captcha.check(fields["captcha"], fields["answer"], v.now)) {
		d.Errors = append(d.Errors, formError{"answer", v.tx.T("captcha.wrong")})
	}
	if len(d.Errors) > 0 {
		d.LostFiles = len(d.files) > 0
		return v.writeForm(d, http.StatusUnprocessableEntity)
	}
	d.parts = d.keep(fields)
	return v.send(d, fields["back"] == "thread")
}

// fillForm puts the fields of a form where the form had them.
func (v *visitor) fillForm(d *writeData, fields map[string]string) {
	d.Name, d.Email = clip(fields["name"], 100), clip(fields["email"], 200)
	if s := strings.TrimSpace(fields["subject"]); s != "" || !d.Reply {
		d.Subject = clip(s, 400)
	}
	d.Body, d.Once = fields["body"], fields["once"]
	if g := fields["groups"]; g != "" && !d.Edit {
		d.Groups = g
	}
	d.FollowupTo = strings.TrimSpace(fields["followup"])
	d.Watch, d.Hinted = fields["watch"] != "", fields["hinted"] != ""
	for i := range d.Kept {
		d.Kept[i].Keep = fields["keepfile."+strconv.Itoa(d.Kept[i].part.Index)] != ""
	}
	if len(d.Once) != 24 && fields["back"] == "thread" { // a line in a chat: what comes twice at once is one
		sum := sha256.Sum256([]byte(d.Action + "\x00" + d.Body + "\x00" + d.Name + "\x00" + v.session + v.addr.String() + strconv.FormatInt(v.now.Unix()/10, 10)))
		d.Once = hex.EncodeToString(sum[:12])
	}
}

// check notes what is wrong with the fields.
func (v *visitor) check(d *writeData) {
	bad := func(field, key string, args ...any) {
		d.Errors = append(d.Errors, formError{field, v.tx.T(key, args...)})
	}
	if strings.TrimSpace(d.Subject) == "" {
		bad("subject", "post.nosubject")
	}
	if strings.TrimSpace(d.Body) == "" && len(d.files) == 0 {
		bad("body", "post.nobody")
	}
	if d.Email != "" && (strings.Count(d.Email, "@") != 1 || strings.ContainsAny(d.Email, " <>()[],;:\\\"\r\n\t") || strings.HasPrefix(d.Email, "@") || strings.HasSuffix(d.Email, "@")) {
		bad("email", "post.bademail")
	}
	gs, err := article.ParseGroups(d.Groups, 0)
	if err != nil {
		bad("groups", "post.badgroups")
		return
	}
	var names []string
	for _, g := range gs {
		names = append(names, string(g))
	}
	d.Groups = strings.Join(names, ",")
	if d.FollowupTo != "" && d.FollowupTo != "poster" {
		if _, err := article.ParseGroups(d.FollowupTo, 0); err != nil {
			bad("followup", "post.badgroups")
		}
	}
}

func (v *visitor) needsCaptcha() bool { return v.account == nil && !contains(v.Trusted, v.addr) }

func (v *visitor) writeForm(d *writeData, status int) (*page, error) {
	if v.needsCaptcha() {
		token, a, b := v.captcha.question(v.now)
		d.Captcha = token
		numbers := strings.Fields(v.tx.T("captcha.numbers"))
		d.Question = v.tx.T("captcha.question", numbers[a], numbers[b])
	}
	if d.Once == "" {
		var raw [15]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return nil, err
		}
		d.Once = strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
	}
	d.CanKeep, d.CanWatch = v.keepsDrafts(), v.keepsDrafts() && !d.Edit
	if v.r.Method == http.MethodGet {
		switch {
		case d.Edit:
		case v.account != nil:
			d.Name, d.Email = v.account.Name, v.account.Email
		default:
			d.Name, d.Email = v.prefs.Name, v.prefs.Email
		}
		if err := v.openDraft(d); err != nil {
			return nil, err
		}
	}
	d.MaxSize, d.MaxOctets = v.tx.size(v.MaxPost), v.MaxPost
	v.w.Header().Set("Cache-Control", "no-store")
	return &page{visitor: v, Name: "write", Title: d.Heading, Group: d.Group, Status: status, Data: d, NoIndex: true,
		Crumbs: []crumb{{v.tx.T("groups"), "/"}, {d.Group, groupPath(article.Group(d.Group))}}}, nil
}

// preview shows the text as it will look, through the same way as any article.
func (v *visitor) preview(d *writeData) (*page, error) {
	c := d.composed
	c.files = nil
	v.author(&c)
	c.ID = "<preview@" + article.ID(v.Host) + ">"
	dr, body, err := v.draft(&c)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	a, err := dr.Build(article.Limits{})
	if err != nil {
		d.Errors = append(d.Errors, formError{"", err.Error()})
		return v.writeForm(d, http.StatusUnprocessableEntity)
	}
	d.Preview, d.PreviewOf = v.body(content.Of(a), c.ID), c.Name
	d.Hints, d.Hinted = v.hints(&d.composed, d.answers), true
	return v.writeForm(d, 0)
}

func clip(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
