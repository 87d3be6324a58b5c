package webforum

import (
	"html/template"
	"strconv"
	"strings"
)

// Posts writes the posts of a thread's page. It does what a template would, by
// hand: of 25 posts it would be half of the page's time.
func (p *page) Posts() (template.HTML, error) {
	d, ok := p.Data.(*threadData)
	if !ok {
		return "", nil
	}
	w := newPostWriter(p, d.View == viewNested, d.ReplyHref != "")
	n := 0
	for i := range d.Posts {
		n += len(d.Posts[i].Body) + 1200
	}
	w.b.Grow(n)
	for i := range d.Posts {
		if err := w.post(&d.Posts[i]); err != nil {
			return "", err
		}
	}
	return template.HTML(w.b.String()), nil
}

func newPostWriter(p *page, nested, reply bool) *postWriter {
	return &postWriter{page: p, nested: nested, reply: reply,
		words: [...]string{p.tx.T("new"), p.tx.T("reply"), p.tx.T("edit"), p.tx.T("delete"), p.tx.T("post.ghost"), p.tx.T("post.gone"), p.tx.T("edited")}}
}

type postWriter struct {
	*page
	b             strings.Builder
	nested, reply bool
	words         [7]string
}

// put writes strings by turns as they are and escaped.
func (w *postWriter) put(parts ...string) {
	for i, s := range parts {
		if i%2 == 0 {
			w.b.WriteString(s)
		} else {
			escape(&w.b, s)
		}
	}
}

func (w *postWriter) post(p *post) error {
	class := ""
	if p.New {
		class = " unread"
	}
	if w.nested {
		class += " d" + strconv.Itoa(p.Depth)
	}
	if p.Ghost || p.Gone {
		text := w.words[4]
		if p.Gone {
			text = w.words[5]
		}
		w.put(`<p class="post ghost`+class+`" id="`, p.Anchor, `">`, text, "</p>\n")
		return nil
	}
	folded := w.folded(p, class, p.MutedName)
	id := p.Anchor
	if folded {
		id += "m"
	}
	w.put(`<article class="post`+class+`" id="`, id, `" aria-labelledby="`, p.Anchor, `a">
<header><span class="av c`+strconv.Itoa(p.Color)+`" aria-hidden="true">`, p.Letter, `</span><h2 id="`, p.Anchor, `a" dir="auto">`, p.Author, `</h2>`)
	if p.New {
		w.put(`<span class="new">`, w.words[0], `</span>`)
	}
	w.trust(&p.Trust)
	if p.History != "" {
		w.put(`<a class="dim edited" href="`, p.History, `">`, w.words[6], `</a>`)
	}
	w.put(`<a class="when" href="`, p.Href, `"><time datetime="`, p.ISO, `" title="`, p.Full, `">`, p.Date, `</time></a></header>
`)
	if p.ParentName != "" {
		w.put(`<p class="to"><a href="`, p.ParentHref, `">`, w.tx.T("answers", p.ParentName), `</a></p>`)
	}
	if p.Subject != "" {
		w.put(`<p class="subj" dir="auto">`, p.Subject, `</p>`)
	}
	w.b.WriteString(`<div class="body">`)
	w.b.WriteString(string(p.Body))
	w.b.WriteString(`</div>`)
	if len(p.Files) > 0 {
		t, err := w.tx.page("thread")
		if err == nil {
			err = t.ExecuteTemplate(&w.b, "files", p.Files)
		}
		if err != nil {
			return err
		}
	}
	w.b.WriteString("<footer>")
	if w.reply {
		w.put(`<a href="`, p.ReplyHref, `" data-key="r" aria-describedby="`, p.Anchor, `a">`, w.words[1], `</a>`)
	}
	if p.EditHref != "" {
		w.put(`<a href="`, p.EditHref, `">`, w.words[2], `</a><a href="`, p.DelHref, `">`, w.words[3], `</a>`)
	}
	w.b.WriteString("</footer></article>\n")
	if folded {
		w.b.WriteString("</details>\n")
	}
	return nil
}

func (w *postWriter) trust(t *trustMark) {
	if t.Word == "" {
		return
	}
	w.put(`<span class="trust `, t.Class, `" title="`, t.Why, `"><span aria-hidden="true">`, t.Icon, `</span> `)
	if t.Href != "" {
		w.put(`<a href="`, t.Href, `">`, t.Word, `</a>`)
	} else {
		w.put("", t.Word)
	}
	w.b.WriteString(`</span>`)
}
