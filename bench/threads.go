package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/litfass/litfass/article"
)

// board is one group with threads as a forum has them: one of 125 posts, some of 25,
// the others of 8. Answers quote; one word stands in one of a thousand articles.
type board struct {
	words []string
	date  time.Time
}

const (
	boardGroup = "bench.forum"
	longThread = 125
	midThreads = 20 // of 25 posts
	midThread  = 25
	fewThread  = 8
)

func newBoard() *board {
	b := &board{date: time.Now().Add(-48 * time.Hour)}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		w := make([]byte, 2+r.IntN(9))
		for i := range w {
			w[i] = []byte("aeioubdgklmnprstvw")[r.IntN(18)]
		}
		b.words = append(b.words, string(w))
	}
	return b
}

func (b *board) id(i int) article.ID { return article.ID(fmt.Sprintf("<f%d@bench.invalid>", i)) }

// root is the first article of the thread in which article i is.
func (b *board) root(i int) int {
	if i < longThread {
		return 0
	}
	if i -= longThread; i < midThreads*midThread {
		return longThread + i/midThread*midThread
	}
	i -= midThreads * midThread
	return longThread + midThreads*midThread + i/fewThread*fewThread
}

// text is lines of words, frequent ones more often than others: so that it
// compresses to 0.38 of itself, as real articles do to 0.35.
func (b *board) text(r *rand.Rand, words int) []byte {
	var out []byte
	line := 0
	for range words {
		w := b.words[int(math.Pow(r.Float64(), 8)*float64(len(b.words)))]
		if line += len(w) + 1; line > 72 {
			out, line = append(out, "\r\n"...), len(w)
		} else if len(out) > 0 {
			out = append(out, ' ')
		}
		out = append(out, w...)
	}
	return out
}

// article makes article i, with CRLF.
func (b *board) article(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 9))
	root := b.root(i)
	title := b.text(rand.New(rand.NewPCG(uint64(root), 8)), 4)
	out := fmt.Appendf(nil, "Path: bench.invalid!not-for-mail\r\nFrom: Person %d <p%d@bench.invalid>\r\nNewsgroups: %s\r\nMessage-ID: %s\r\nDate: %s\r\n",
		i%97, i%97, boardGroup, b.id(i), article.FormatDate(b.date.Add(time.Duration(i)*time.Second)))
	if i == root {
		out = fmt.Appendf(out, "Subject: %s\r\n", title)
	} else {
		out = fmt.Appendf(out, "Subject: Re: %s\r\nReferences: %s", title, b.id(root))
		if up := root + (i-root)/2; up != root {
			out = fmt.Appendf(out, " %s", b.id(up))
		}
		out = append(out, "\r\n"...)
	}
	out = append(out, "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n"...)
	if i != root {
		quoted := bytes.ReplaceAll(b.text(r, 25+r.IntN(30)), []byte("\r\n"), []byte("\r\n> "))
		out = fmt.Appendf(out, "Person %d wrote:\r\n> %s\r\n\r\n", (i+1)%97, quoted)
	}
	out = append(append(out, b.text(r, 60+r.IntN(120))...), "\r\n"...)
	if i%1000 == 7 {
		out = fmt.Appendf(out, "needle%d\r\n", i)
	}
	if i%50 == 3 {
		out = fmt.Appendf(out, "%s\r\n", b.phrase())
	}
	return fmt.Appendf(out, "-- \r\nPerson %d, http://bench.invalid/%d\r\n", i%97, i)
}

// phrase stands in one of fifty articles; its words alone in more.
func (b *board) phrase() string { return b.words[300] + " " + b.words[200] + " " + b.words[400] }

// load is the first n articles in wire form.
func (b *board) load(n int) *load {
	l := &load{}
	for i := range n {
		begin := len(l.octets)
		l.octets = append(append(l.octets, b.article(i)...), ".\r\n"...)
		l.ids = append(l.ids, b.id(i))
		l.at = append(l.at, [2]int{begin, len(l.octets)})
	}
	return l
}
