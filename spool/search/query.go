package search

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/mapping"
	bsearch "github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
	index "github.com/blevesearch/bleve_index_api"

	"github.com/litfass/litfass/article"
)

// The bounds of a question.
const (
	maxQuery  = 500 // octets
	maxTerms  = 16
	maxResult = 1000  // how far one may page
	maxBegun  = 25000 // terms that a beginning stands for: 0.1 to 0.4 s
)

// QueryError says what is wrong with a question: in words, and as a code by which a
// page finds words in the language of who asked.
type QueryError struct {
	Code string // long, words, none, common, date, far, wide
	Why  string
}

func (e *QueryError) Error() string { return e.Why }

// Question is the code.
func (e *QueryError) Question() string { return e.Code }

// part is one piece of a question.
type part struct {
	field  string // "", from, group, subject, after, before
	text   string
	phrase bool
	not    bool
}

// parse cuts a question into terms: words, "phrases", from:, group:, subject:,
// after: and before: (YYYY, YYYY-MM or YYYY-MM-DD); a "-" in front excludes.
func parse(q string) ([]part, error) {
	if len(q) > maxQuery {
		return nil, &QueryError{"long", fmt.Sprintf("the question is longer than %d octets", maxQuery)}
	}
	var out []part
	for q = strings.TrimSpace(q); q != ""; q = strings.TrimSpace(q) {
		var t part
		if len(q) > 1 && q[0] == '-' && q[1] != ' ' {
			t.not, q = true, q[1:]
		}
		for _, f := range [...]string{fieldFrom, fieldGroup, fieldSubj, "after", "before"} {
			if len(q) > len(f)+1 && strings.EqualFold(q[:len(f)], f) && q[len(f)] == ':' {
				t.field, q = f, q[len(f)+1:]
				break
			}
		}
		if q[0] == '"' {
			end := strings.IndexByte(q[1:], '"')
			if end < 0 {
				end = len(q) - 1
			}
			t.text, t.phrase, q = q[1:1+end], true, q[min(len(q), end+2):]
		} else {
			end := strings.IndexAny(q, " \t\r\n")
			if end < 0 {
				end = len(q)
			}
			t.text, q = q[:end], q[end:]
		}
		if strings.TrimSpace(t.text) != "" {
			out = append(out, t)
		}
		if len(out) > maxTerms {
			return nil, &QueryError{"words", fmt.Sprintf("the question has more than %d words", maxTerms)}
		}
	}
	if len(out) == 0 {
		return nil, &QueryError{"none", "there is no word in the question"}
	}
	return out, nil
}

// build makes bleve's question of terms. What the words of a language mean is asked
// for each language, for whoever asks does not say which one he means: (all words
// by the stems of German) or (all by those of English).
// common says that in one of them it holds no word that counts.
func (w *writer) build(terms []part) (q query.Query, ranked, common bool, err error) {
	b := bleve.NewBooleanQuery()
	texts, must := false, false
	for _, t := range terms {
		if t.isText() && !t.not {
			texts = true
			continue
		}
		one, err := w.one(t)
		switch {
		case err != nil:
			return nil, false, false, err
		case one == nil: // a word that is everywhere
		case t.not:
			b.AddMustNot(one)
		default:
			b.AddMust(one)
			must = true
		}
	}
	if texts {
		q, common, err := w.texts(terms)
		if err != nil {
			return nil, false, false, err
		}
		b.AddMust(q)
		return b, true, common, nil
	}
	if !must {
		b.AddMust(bleve.NewMatchAllQuery())
	}
	return b, false, false, nil
}

// errCommon answers who asks for nothing else.
func errCommon() error {
	return &QueryError{"common", "only words are asked for that are in nearly every article; such words are not indexed: add one that is rarer"}
}

// isText says whether a term asks for words of the text or the subject.
func (t part) isText() bool { return t.field == "" || t.field == fieldSubj }

// texts asks for all words of the text that terms name; common is build's.
func (w *writer) texts(terms []part) (q query.Query, common bool, err error) {
	any := bleve.NewDisjunctionQuery()
	asked := map[string]bool{}
	for _, lang := range languages {
		all := bleve.NewConjunctionQuery()
		key := ""
		for _, t := range terms {
			if !t.isText() || t.not {
				continue
			}
			one, name := w.words(t, lang)
			if one != nil {
				all.AddQuery(one)
				key += name + "\x00"
			}
		}
		common = common || key == ""
		if key != "" && !asked[key] {
			asked[key] = true
			any.AddQuery(all)
		}
	}
	if len(any.Disjuncts) == 0 {
		return nil, true, errCommon()
	}
	return any, common, nil
}

// words asks for the words of a term, by the stems of lang; several of one term
// ("example.com", a phrase) stand beside each other. nil: there is none that counts.
// name says what is asked for.
func (w *writer) words(t part, lang string) (q query.Query, name string) {
	var phrase [][]string
	field := fieldText
	if t.field != "" {
		field = t.field
	}
	first := 0
	each(t.text, func(word []byte, place int) {
		found := w.lexica[lang].term(word)
		if found.text == "" || place-first >= maxTerms && first > 0 {
			return
		}
		if first == 0 {
			first = place
		}
		for len(phrase) < place-first { // a word between that does not count: any one may stand there
			phrase = append(phrase, nil)
			name += "\x01"
		}
		phrase = append(phrase, []string{found.text})
		name += "\x01" + found.text
	})
	switch {
	case len(phrase) == 0:
		return nil, ""
	case len(phrase) == 1 && utf8.RuneCountInString(phrase[0][0]) == 1 && sign([]rune(phrase[0][0])[0]):
		return begins(field, phrase[0][0]), name // signs stand in pairs
	case len(phrase) == 1:
		return in(field, phrase[0][0]), name
	case field != fieldText: // places are kept of the text alone
		all := bleve.NewConjunctionQuery()
		for _, p := range phrase {
			if len(p) > 0 {
				all.AddQuery(in(field, p[0]))
			}
		}
		return all, name
	}
	return query.NewMultiPhraseQuery(phrase, field), name
}

func in(field, word string) query.Query {
	q := bleve.NewTermQuery(word)
	q.SetField(field)
	return q
}

// beginning asks for all terms that begin so, unless they are too many to be looked
// up one by one.
type beginning struct{ *query.PrefixQuery }

func begins(field, prefix string) query.Query {
	q := bleve.NewPrefixQuery(prefix)
	q.SetField(field)
	return beginning{q}
}

// Searcher overrides the PrefixQuery's.
func (b beginning) Searcher(ctx context.Context, r index.IndexReader, m mapping.IndexMapping, o bsearch.SearcherOptions) (bsearch.Searcher, error) {
	terms, err := r.FieldDictPrefix(b.Field(), []byte(b.Prefix))
	if err != nil {
		return nil, err
	}
	defer terms.Close()
	for range maxBegun {
		if t, err := terms.Next(); err != nil {
			return nil, err
		} else if t == nil {
			return b.PrefixQuery.Searcher(ctx, r, m, o)
		}
	}
	return nil, &QueryError{"wide", fmt.Sprintf("%s begins %d terms or more; ask for a longer beginning", b.Prefix, maxBegun)}
}

// one asks for a term that is no text, or for what must not be there.
func (w *writer) one(t part) (query.Query, error) {
	switch t.field {
	case fieldGroup:
		if t.text == "*" {
			return bleve.NewMatchAllQuery(), nil
		}
		if name, all := strings.CutSuffix(t.text, "*"); all {
			return begins(fieldGroup, name), nil
		}
		return in(fieldGroup, t.text), nil
	case fieldFrom:
		if q, _ := w.words(t, ""); q != nil {
			return q, nil
		}
		return bleve.NewMatchNoneQuery(), nil
	case "after", "before":
		return t.dates()
	}
	any := bleve.NewDisjunctionQuery()
	for _, lang := range languages {
		if q, _ := w.words(t, lang); q != nil {
			any.AddQuery(q)
		}
	}
	if len(any.Disjuncts) == 0 {
		return nil, nil
	}
	return any, nil
}

// dates asks for the days from one on, or before one: the rest of its month, the
// rest of its year, and the other years.
func (t part) dates() (query.Query, error) {
	var from, to time.Time
	for _, form := range [...]struct {
		layout  string
		y, m, d int
	}{{"2006-01-02", 0, 0, 1}, {"2006-01", 0, 1, 0}, {"2006", 1, 0, 0}} {
		if at, err := time.Parse(form.layout, t.text); err == nil {
			from, to = at, at.AddDate(form.y, form.m, form.d)
			break
		}
	}
	if from.IsZero() {
		return nil, &QueryError{"date", fmt.Sprintf("%s:%s is no date; write %s:2026, %s:2026-11 or %s:2026-11-23", t.field, t.text, t.field, t.field, t.field)}
	}
	any := bleve.NewDisjunctionQuery()
	add := func(lo, hi string) {
		yes := true
		q := bleve.NewTermRangeInclusiveQuery(lo, hi, &yes, &yes)
		q.SetField(fieldDate)
		any.AddQuery(q)
	}
	if t.field == "after" {
		month, year := from.Format("200601"), from.Format("2006")
		add("d"+from.Format("20060102"), "d"+month+"99")
		add("m"+month+"~", "m"+year+"99")
		add("y"+year+"~", "y~")
	} else {
		last := to.AddDate(0, 0, -1)
		month, year := last.Format("200601"), last.Format("2006")
		add("d"+month, "d"+last.Format("20060102"))
		add("m"+year, "m"+last.AddDate(0, 0, -last.Day()).Format("200601"))
		add("y", "y"+last.AddDate(-1, 0, 0).Format("2006"))
	}
	return any, nil
}

// Search returns n ids from place from on, the best first, and how many articles
// fit in all. Questions that name no words are answered newest first. Its error is
// a *QueryError if the question is at fault.
func (x *Index) Search(ctx context.Context, q string, from, n int) (ids []article.ID, total int, err error) {
	terms, err := parse(q)
	if err != nil {
		return nil, 0, err
	}
	x.asking.Lock()
	bq, ranked, common, err := x.asked.build(terms)
	x.asking.Unlock()
	if err != nil {
		return nil, 0, err
	}
	if from < 0 || n <= 0 || from+n > maxResult {
		return nil, 0, &QueryError{"far", fmt.Sprintf("only the first %d results can be paged through; ask more narrowly", maxResult)}
	}
	_ = x.Flush() // if it fails, a full disk say, the follower is told; what is written can be searched
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := bleve.NewSearchRequestOptions(bq, n, from, false)
	if !ranked {
		req.SortBy([]string{"-" + fieldTime})
	}
	res, err := x.index.SearchInContext(ctx, req)
	if err != nil {
		return nil, 0, fmt.Errorf("search: %w", err)
	}
	if common && res.Total == 0 { // "to be or not to be" in English; in German these words say something
		return nil, 0, errCommon()
	}
	for _, h := range res.Hits {
		ids = append(ids, article.ID(h.ID))
	}
	return ids, int(min(res.Total, 1<<31-1)), nil
}
