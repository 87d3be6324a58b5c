package search

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search/query"

	"github.com/litfass/litfass/article"
)

// The bounds of a question.
const (
	maxQuery  = 500 // octets
	maxTerms  = 16
	maxResult = 1000 // how far one may page
)

// QueryError says what is wrong with a question, in words for who asked it.
type QueryError struct{ Why string }

func (e *QueryError) Error() string { return e.Why }

// term is one piece of a question.
type term struct {
	field  string // "", from, group, subject, after, before
	text   string
	phrase bool
	not    bool
}

// parse cuts a question into terms: words, "phrases", from:, group:, subject:,
// after: and before: (YYYY, YYYY-MM or YYYY-MM-DD); a "-" in front excludes.
func parse(q string) ([]term, error) {
	if len(q) > maxQuery {
		return nil, &QueryError{fmt.Sprintf("the question is longer than %d octets", maxQuery)}
	}
	var out []term
	for q = strings.TrimSpace(q); q != ""; q = strings.TrimSpace(q) {
		var t term
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
			return nil, &QueryError{fmt.Sprintf("the question has more than %d words", maxTerms)}
		}
	}
	if len(out) == 0 {
		return nil, &QueryError{"there is no word in the question"}
	}
	return out, nil
}

func build(terms []term) (q query.Query, ranked bool, err error) {
	must, not := bleve.NewConjunctionQuery(), bleve.NewDisjunctionQuery()
	for _, t := range terms {
		one, err := t.query()
		if err != nil {
			return nil, false, err
		}
		ranked = ranked || !t.not && (t.field == "" || t.field == fieldSubj)
		if t.not {
			not.AddQuery(one)
		} else {
			must.AddQuery(one)
		}
	}
	b := bleve.NewBooleanQuery()
	if len(must.Conjuncts) == 0 {
		must.AddQuery(bleve.NewMatchAllQuery())
	}
	b.AddMust(must)
	if len(not.Disjuncts) > 0 {
		b.AddMustNot(not)
	}
	return b, ranked, nil
}

func (t term) query() (query.Query, error) {
	switch t.field {
	case fieldGroup:
		if name, all := strings.CutSuffix(t.text, "*"); all {
			p := bleve.NewPrefixQuery(name)
			p.SetField(fieldGroup)
			return p, nil
		}
		q := bleve.NewTermQuery(t.text)
		q.SetField(fieldGroup)
		return q, nil
	case fieldFrom, fieldSubj:
		return match(t.field, t.text), nil
	case "after", "before":
		return t.dates()
	}
	any := bleve.NewDisjunctionQuery()
	for _, l := range languages {
		if t.phrase {
			p := bleve.NewMatchPhraseQuery(t.text)
			p.SetField(l[0])
			any.AddQuery(p)
		} else {
			any.AddQuery(match(l[0], t.text))
		}
	}
	return any, nil
}

func match(field, text string) query.Query {
	m := bleve.NewMatchQuery(text)
	m.SetField(field)
	m.SetOperator(query.MatchQueryOperatorAnd)
	return m
}

func (t term) dates() (query.Query, error) {
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
		return nil, &QueryError{fmt.Sprintf("%s:%s is no date; write %s:2026, %s:2026-11 or %s:2026-11-23", t.field, t.text, t.field, t.field, t.field)}
	}
	yes, no := true, false
	var q *query.DateRangeQuery
	if t.field == "after" {
		q = bleve.NewDateRangeInclusiveQuery(from, time.Time{}, &yes, nil)
	} else {
		q = bleve.NewDateRangeInclusiveQuery(time.Time{}, to, nil, &no)
	}
	q.SetField(fieldDate)
	return q, nil
}

// Search returns n ids from place from on, the best first, and how many articles
// fit in all. Questions that name no words are answered newest first. Its error is
// a *QueryError if the question is at fault.
func (x *Index) Search(ctx context.Context, q string, from, n int) (ids []article.ID, total int, err error) {
	terms, err := parse(q)
	if err != nil {
		return nil, 0, err
	}
	bq, ranked, err := build(terms)
	if err != nil {
		return nil, 0, err
	}
	if from < 0 || n <= 0 || from+n > maxResult {
		return nil, 0, &QueryError{fmt.Sprintf("only the first %d results can be paged through; ask more narrowly", maxResult)}
	}
	_ = x.Flush() // if it fails, a full disk say, the follower is told; what is written can be searched
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := bleve.NewSearchRequestOptions(bq, n, from, false)
	if !ranked {
		req.SortBy([]string{"-" + fieldDate})
	}
	res, err := x.index.SearchInContext(ctx, req)
	if err != nil {
		return nil, 0, fmt.Errorf("search: %w", err)
	}
	for _, h := range res.Hits {
		ids = append(ids, article.ID(h.ID))
	}
	return ids, int(min(res.Total, 1<<31-1)), nil
}
