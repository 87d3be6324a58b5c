package webforum

import (
	"net/http"
	"slices"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
)

// A thread that is open in several browsers is a chat: each page hears of a new
// article (live.go), asks for it alone (postAlone), and has a small form at its end
// (quickForm). Without script the form leads back to the thread, and a line says how
// many articles came.

// quickForm is the form at the end of a thread.
type quickForm struct {
	Action, Full string
	Guest        bool
	Name         string
	To           writeData // where its author wants answers
}

// quick makes the form, for visitors who need not answer a captcha.
func (t *threadView) quick() *quickForm {
	v := t.v
	if t.data.ReplyHref == "" || v.needsCaptcha() || v.view() == viewIndex {
		return nil
	}
	i := slices.IndexFunc(t.all, func(p threads.Post) bool { return p.ID == t.root && p.Seq != 0 })
	if i < 0 { // the beginning is not here: answer the first that is
		i = slices.IndexFunc(t.all, func(p threads.Post) bool { return p.Seq != 0 })
	}
	if i < 0 {
		return nil
	}
	reply := messagePath(t.all[i].ID) + "/reply"
	form := &quickForm{Action: reply, Full: reply, Guest: v.account == nil, Name: v.prefs.Name}
	if kept, ok := v.Forum.bodies.get(bodyKey{t.all[i].Seq, v.tx.lang}); ok && kept.asks == "" {
		return form
	}
	if a, err := v.Spool.Open(v.ctx, t.all[i].Seq); err == nil { // else the form's answer tells
		form.To.Groups = a.Get("Newsgroups")
		form.To.follow(a, t.g.Name)
	}
	return form
}

// postAlone is one post as it stands on the page of its thread, and nothing around
// it: what script puts at the end of an open page.
func (f *Forum) postAlone(v *visitor) (*page, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p, err := v.post(e.ID, e.Seq)
	if err != nil {
		return nil, err
	}
	if p.Gone {
		return nil, errPage(http.StatusNotFound, "error.article")
	}
	g, err := v.group(v.r.URL.Query().Get("g"))
	if err != nil {
		return nil, err
	}
	if refs := article.ParseReferences(e.References); len(refs) > 0 {
		if up, err := v.Spool.ByID(v.ctx, refs[len(refs)-1]); err == nil && v.readable(up) {
			p.ParentName, _ = content.Author(up.From)
			p.ParentHref = "#" + anchor(up.ID)
		}
	}
	if v.r.URL.Query().Get("s") == subject(e.Subject) {
		p.Subject = ""
	}
	_, why := v.maybePost(g)
	for _, pl := range e.Places {
		if pl.Group == g.Name || v.marks.known(pl.Group) {
			v.marks.read(pl.Group, pl.Number)
		}
	}
	v.marks.save()
	pg := &page{visitor: v, Name: "thread", Group: string(g.Name)}
	w := newPostWriter(pg, false, why == "")
	if err := w.post(&p); err != nil {
		return nil, err
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.tx.lang)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
	v.write(http.StatusOK, []byte(w.b.String()))
	return nil, nil
}

// markUnread takes an article out of what the visitor has read.
func (f *Forum) markUnread(v *visitor) (*page, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	to := ""
	for _, p := range e.Places {
		if !v.mayRead(p.Group) {
			continue
		}
		if to == "" {
			to = groupPath(p.Group)
		}
		if v.marks.known(p.Group) {
			v.marks.set(p.Group, v.marks.of(p.Group).del(p.Number))
		}
	}
	v.marks.save()
	v.redirect(to)
	return nil, nil
}

const maxGap = 200 // unread articles between read ones that a list looks for, the latest

// gapThreads are the threads in which something unread lies before what was read:
// the latest article of a thread does not tell of them.
func (v *visitor) gapThreads(g spool.GroupInfo, read ranges) map[article.ID]bool {
	out := map[article.ID]bool{}
	left := maxGap
	for i := len(read) - 1; i >= 0 && left > 0; i-- {
		lo := max(g.Low, 1)
		if i > 0 {
			lo = max(lo, read[i-1][1]+1)
		}
		for n := read[i][0] - 1; n >= lo && n > 0 && left > 0; n-- {
			left--
			e, err := v.Spool.ByNumber(v.ctx, spool.Place{Group: g.Name, Number: n})
			if err != nil {
				continue
			}
			if root, err := v.Threads.Root(e.ID); err == nil {
				out[root] = true
			}
		}
	}
	return out
}

// del returns r without n.
func (r ranges) del(n uint64) ranges {
	var out ranges
	for _, x := range r {
		if n < x[0] || n > x[1] {
			out = append(out, x)
			continue
		}
		if x[0] < n {
			out = append(out, [2]uint64{x[0], n - 1})
		}
		if n < x[1] {
			out = append(out, [2]uint64{n + 1, x[1]})
		}
	}
	return out
}

// folded is a post of somebody whom the visitor muted: one line that opens.
func (w *postWriter) folded(p *post, class, name string) bool {
	if !p.Muted {
		return false
	}
	if name == "" {
		name = p.Author
	}
	w.put(`<details class="post muted`+class+`" id="`, p.Anchor, `"><summary>`, w.tx.T("mute.line", name), `</summary>`)
	return true
}

// replay tells a page of what came between its making and its connection.
func (f *Forum) replay(v *visitor, s *subscriber, after spool.Seq, tell func(event) error) (spool.Seq, error) {
	last := f.Spool.Last()
	if after == 0 || after >= last {
		return max(after, 0), nil
	}
	if last > maxReplay && after < last-maxReplay {
		after = last - maxReplay
	}
	at := after
	for e, err := range f.Spool.Since(v.ctx, after) {
		if err != nil {
			return at, err
		}
		at = e.Seq
		if ev, ok := s.wants(e, f.topic(e)); ok {
			if err := tell(ev); err != nil {
				return at, err
			}
		}
		if e.Seq >= last {
			break
		}
	}
	return at, nil
}

// Seq is up to where a page knows of articles: its connection goes on from there.
func (p *page) Seq() uint64 {
	if p.seq == 0 {
		return uint64(p.Spool.Last())
	}
	return uint64(p.seq)
}
