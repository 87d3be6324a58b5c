package webforum

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
)

const hurry = 500 // entries that a page reads ahead of the thread index's follower

type messageData struct {
	post
	Groups     []crumb
	ThreadHref string
	Parent     string
	Headers    [][2]string
	AllHeaders bool
	Via        string
	PostWhy    string
	Hidden     string // moderators see it still: who hid it and why
	HideHref   string // "": the visitor does not decide
	ReportHref string
	Prev, Next string
	Unread     bool // there is a mark to take away
}

func (f *Forum) messagePage(v *visitor) (*page, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := f.Threads.Hurry(v.ctx, e.Seq, hurry); err != nil {
		f.Log.Warn("forum: thread index", "error", err)
	}
	if v.unchanged(e.Seq, len(e.Places), f.Threads.Mark()) {
		return nil, nil
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if err != nil {
		return nil, err
	}
	d := &messageData{post: post{ID: e.ID.Bare(), Anchor: anchor(e.ID), Href: messagePath(e.ID)}}
	v.fill(&d.post, e, a)
	d.Subject = strings.TrimSpace(content.Header(e.Subject))
	d.AllHeaders = v.r.URL.Query().Get("headers") != ""
	for n, val := range a.Fields() {
		if d.AllHeaders {
			d.Headers = append(d.Headers, [2]string{n, content.Header(article.Unfold(val))})
		}
	}
	var group article.Group
	for _, p := range e.Places {
		if v.mayRead(p.Group) {
			d.Groups = append(d.Groups, crumb{string(p.Group), groupPath(p.Group)})
			if group == "" {
				group = p.Group
			}
		}
	}
	if root, err := f.Threads.Root(e.ID); err == nil {
		d.ThreadHref = threadPath(group, root) + "#" + d.Anchor
	}
	replaced, _ := article.ParseID(strings.TrimSpace(a.Get("Supersedes")))
	if refs := article.ParseReferences(e.References); len(refs) > 0 && refs[len(refs)-1] != replaced {
		d.Parent = messagePath(refs[len(refs)-1])
	}
	if e.Via.How == spool.Relayed {
		d.Via = e.Via.Peer
	}
	if g, err := v.Spool.Group(v.ctx, group); err == nil {
		_, d.PostWhy = v.maybePost(g)
	}
	if f.Ward != nil && (v.account != nil || v.Anonymous == "post") {
		d.ReportHref = d.Href + "/report"
	}
	if n, hidden := v.hidden(e); hidden {
		d.Hidden = v.tx.T("hide.is", n.Reason, n.By)
	}
	if v.moderates(e) {
		d.HideHref, d.ReportHref = d.Href+"/hide", ""
	}
	for _, p := range e.Places {
		if v.marks.known(p.Group) {
			d.Unread = true
			v.marks.read(p.Group, p.Number)
		}
	}
	v.marks.save()
	return &page{visitor: v, Name: "message", Title: d.Subject, Group: string(group), Data: d,
		Crumbs: []crumb{{v.tx.T("groups"), "/"}, {string(group), groupPath(group)}}}, nil
}

// raw sends an article's octets as they are kept.
func (f *Forum) raw(v *visitor) (*page, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if err != nil {
		return nil, err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, max-age=3600")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Vary", "Accept-Encoding, Cookie")
	v.write(http.StatusOK, a.Octets())
	return nil, nil
}

// part sends one part of an article. Only pictures, sound and film keep their type
// and are shown; nothing of it runs on this origin.
func (f *Forum) part(v *visitor) (*page, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil || n < 0 {
		return nil, errPage(http.StatusNotFound, "error.part")
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if err != nil {
		return nil, err
	}
	c := content.Of(a)
	if n >= len(c.Parts) || c.Parts[n].Detached != nil {
		return nil, errPage(http.StatusNotFound, "error.part")
	}
	p := c.Parts[n]
	h := v.w.Header()
	typ, disp := "application/octet-stream", "attachment"
	if image, audio, video := media(p.Type); image || audio || video {
		typ, disp = p.Type, "inline"
	} else if p.Type == "text/plain" {
		typ = "text/plain; charset=utf-8"
	}
	name := p.Name
	if name == "" {
		name = "part-" + strconv.Itoa(n) + ".bin"
	}
	h.Set("Content-Type", typ)
	h.Set("Content-Disposition", mime.FormatMediaType(disp, map[string]string{"filename": name}))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self'; media-src 'self'")
	h.Set("Cache-Control", "private, max-age=86400")
	h.Set("Vary", "Cookie")
	http.ServeContent(v.w, v.r, "", e.Arrived, strings.NewReader(string(p.Bytes())))
	return nil, nil
}
