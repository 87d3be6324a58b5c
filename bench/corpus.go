package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/litfass/litfass/article"
)

// corpus makes articles that depend on tag and number only. Sizes are
// log-normal with a median of 1.8 kB and a mean of 2.5 kB, 70 % are replies, 7 %
// crossposted, and traffic over the groups falls like 1/rank^0.8: what a count
// of real Usenet text groups shows.
type corpus struct {
	tag    string
	groups int
	small  bool // bodies of one line: for filling history
	date   string
	words  []byte
	weight []float64
}

func newCorpus(tag string, groups int) *corpus {
	c := &corpus{tag: tag, groups: groups, date: article.FormatDate(time.Now())}
	r := rand.New(rand.NewPCG(1, 2))
	for len(c.words) < 1<<17 {
		for n := 3 + r.IntN(9); n > 0 && len(c.words) < 1<<17; n-- {
			for range 2 + r.IntN(8) {
				c.words = append(c.words, byte('a'+r.IntN(26)))
			}
			c.words = append(c.words, ' ')
		}
		c.words = append(c.words[:len(c.words)-1], "\r\n"...)
	}
	sum := 0.0
	for i := range groups {
		sum += 1 / math.Pow(float64(i+1), 0.8)
		c.weight = append(c.weight, sum)
	}
	return c
}

func (c *corpus) group(i int) string { return fmt.Sprintf("bench.g%02d", i) }

func (c *corpus) names() []string {
	var out []string
	for i := range c.groups {
		out = append(out, c.group(i))
	}
	return out
}

func (c *corpus) id(i int) article.ID {
	return article.ID(fmt.Sprintf("<%s.%d@bench.invalid>", c.tag, i))
}

func (c *corpus) pick(r *rand.Rand) string {
	x := r.Float64() * c.weight[c.groups-1]
	for i, w := range c.weight {
		if x < w {
			return c.group(i)
		}
	}
	return c.group(0)
}

// subject is a piece of text in one line.
func (c *corpus) subject(i int) []byte {
	return bytes.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, c.words[i*37%100000:][:30])
}

// wire appends article i in wire form.
func (c *corpus) wire(dst []byte, i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	groups := c.pick(r)
	if r.IntN(100) < 7 {
		if g := c.pick(r); g != groups {
			groups += "," + g
		}
	}
	dst = fmt.Appendf(dst, "Path: bench.invalid!not-for-mail\r\nFrom: Person %d <p%d@bench.invalid>\r\nNewsgroups: %s\r\n"+
		"Subject: %s%s\r\nDate: %s\r\nMessage-ID: %s\r\n", i%997, i%997, groups,
		map[bool]string{true: "Re: "}[i%10 < 7], c.subject(i), c.date, c.id(i))
	if i%10 < 7 {
		dst = append(dst, "References:"...)
		for k := range 1 + i%6 {
			dst = fmt.Appendf(dst, " %s", c.id(max(0, i-1-k*13)))
		}
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, "Organization: bench\r\nUser-Agent: bench/1\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n"...)
	size := 40
	if !c.small {
		size = int(math.Exp(math.Log(1300) + r.NormFloat64()*0.9))
		size = min(max(size, 100), 60000)
	}
	from := r.IntN(1 << 16)
	body := c.words[from:min(from+size, len(c.words))]
	if k := bytes.IndexByte(body, '\n'); k >= 0 {
		body = body[k+1:] // begin with a whole line
	}
	dst = append(dst, bytes.TrimRight(body, "\r\n")...)
	return append(dst, "\r\n.\r\n"...)
}

// batch makes articles from to to beforehand, so that making them costs nothing
// while it is measured.
func (c *corpus) batch(from, to int) *load {
	l := &load{}
	for i := from; i < to; i++ {
		begin := len(l.octets)
		l.octets = c.wire(l.octets, i)
		l.ids = append(l.ids, c.id(i))
		l.at = append(l.at, [2]int{begin, len(l.octets)})
	}
	return l
}

// load is a number of articles in wire form.
type load struct {
	ids    []article.ID
	at     [][2]int
	octets []byte
}

func (l *load) len() int          { return len(l.ids) }
func (l *load) wire(i int) []byte { return l.octets[l.at[i][0]:l.at[i][1]] }
