package webforum

import (
	"errors"
	"html/template"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

const hitsPage = 25

type hit struct {
	Href, Subject, Author, Date, ISO string
	Excerpt                          template.HTML
	Group, GroupHref                 string
}

type searchData struct {
	Query      string
	Hits       []hit
	Total      int
	Prev, Next string
	None       bool // this node has no search
}

func (f *Forum) searchPage(v *visitor) (*page, error) {
	d := &searchData{Query: clip(v.r.URL.Query().Get("q"), 500), None: f.Search == nil}
	p := &page{visitor: v, Name: "search", Title: v.tx.T("search"), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}
	if d.Query != "" {
		p.Title = d.Query
	}
	if d.Query == "" || d.None {
		return p, nil
	}
	n, err := strconv.Atoi(v.r.URL.Query().Get("page"))
	if err != nil || n < 1 || n > 400 {
		n = 1
	}
	ids, total, err := f.Search.Search(v.ctx, d.Query, (n-1)*hitsPage, hitsPage)
	var wrong interface{ Question() string } // what is wrong with it
	if errors.As(err, &wrong) {
		p.Status, p.Notice = http.StatusUnprocessableEntity, v.tx.T("search.wrong."+wrong.Question())
		return p, nil
	}
	if err != nil {
		f.Log.Warn("forum: search", "query", d.Query, "error", err)
		p.Status, p.Notice = http.StatusServiceUnavailable, v.tx.T("search.failed")
		return p, nil
	}
	d.Total = total
	for _, id := range ids {
		if h, ok := v.hit(id, d.Query); ok {
			d.Hits = append(d.Hits, h)
		}
	}
	at := func(i int) string { return "/search?q=" + url.QueryEscape(d.Query) + "&page=" + strconv.Itoa(i) }
	if n > 1 {
		d.Prev = at(n - 1)
	}
	if n*hitsPage < total {
		d.Next = at(n + 1)
	}
	return p, nil
}

// hit makes a line of a result that is still here and that the visitor may read.
func (v *visitor) hit(id article.ID, query string) (hit, bool) {
	e, err := v.Spool.ByID(v.ctx, id)
	if err != nil || !v.readable(e) {
		return hit{}, false
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if err != nil {
		return hit{}, false
	}
	name, _ := content.Author(e.From)
	at := sent(e)
	h := hit{Href: messagePath(id), Subject: subject(e.Subject), Author: name, Date: v.date(at), ISO: at.Format(time.RFC3339)}
	h.Excerpt = excerpt(content.Of(a).Own(20000), query)
	for _, p := range e.Places {
		if v.mayRead(p.Group) {
			h.Group, h.GroupHref = string(p.Group), groupPath(p.Group)
			break
		}
	}
	return h, true
}

// questionPart is one piece of a question: what may exclude it, its field, the words.
var questionPart = regexp.MustCompile(`(-?)(?:([a-z]+):)?("[^"]*"?|\S+)`)

// sought are the words of the text that a question asks for, in lower case.
func sought(question string) (out []string) {
	for _, m := range questionPart.FindAllStringSubmatch(strings.ToLower(question), 20) {
		if m[1] != "" || slices.Contains([]string{"from", "group", "after", "before"}, m[2]) {
			continue
		}
		for from, to := range wordsOf(m[3]) {
			out = append(out, m[3][from:to])
		}
	}
	return out
}

// wordsOf yields where the words of a text begin and end; a sign of Chinese or
// Japanese, which write no blanks, is one of its own.
func wordsOf(s string) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		from := -1
		for i, r := range s {
			alone := unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
			word := unicode.In(r, unicode.L, unicode.M, unicode.N)
			if from >= 0 && (alone || !word) {
				if !yield(from, i) {
					return
				}
				from = -1
			}
			if alone && !yield(i, i+utf8.RuneLen(r)) {
				return
			}
			if word && !alone && from < 0 {
				from = i
			}
		}
		if from >= 0 {
			yield(from, len(s))
		}
	}
}

// isSought says whether a word is one of those, or another form of one: it begins
// alike and is not much longer.
func isSought(word string, words []string) bool {
	word = strings.ToLower(word)
	return slices.ContainsFunc(words, func(w string) bool {
		stem := w
		if len(w) > 5 {
			stem = strings.ToValidUTF8(w[:len(w)-2], "")
		}
		return word == w || len(w) > 3 && strings.HasPrefix(word, stem) && len(word) <= len(w)+3
	})
}

// excerpt is the stretch of a text around the first word that was asked for, with
// all such words marked.
func excerpt(text, question string) template.HTML {
	const width, before = 240, 60
	words := sought(question)
	start := 0
	for from, to := range wordsOf(text) {
		if isSought(text[from:to], words) {
			if from > before+20 {
				start = from - before
				start += strings.IndexByte(text[start:from], ' ') + 1
			}
			break
		}
	}
	out, end := strings.ToValidUTF8(text[start:], ""), ""
	if len(out) > width {
		out, end = strings.ToValidUTF8(out[:width], ""), " …"
		if i := strings.LastIndexByte(out, ' '); i > 0 {
			out = out[:i]
		}
	}
	var b strings.Builder
	if start > 0 {
		b.WriteString("… ")
	}
	last := 0
	for from, to := range wordsOf(out) {
		if isSought(out[from:to], words) {
			escape(&b, out[last:from])
			b.WriteString("<mark>")
			escape(&b, out[from:to])
			b.WriteString("</mark>")
			last = to
		}
	}
	escape(&b, out[last:])
	b.WriteString(end)
	return template.HTML(b.String())
}
