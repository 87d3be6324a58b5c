package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
)

// verifyMost bounds the article that key verify reads: it may be another node's, which
// keeps larger ones than this.
const verifyMost = 64 << 20

// keyVerify says what the signature of an article is worth, and why.
func (c *control) keyVerify(ctx context.Context, u keyJSON) (keyJSON, error) {
	a, err := readArticle(u.Octets)
	if err != nil {
		return verdict(pki.ResultInvalid, err.Error()), nil
	}
	return c.judged(ctx, a)
}

// readArticle reads an article as a file holds it: LF or CRLF, not dot-stuffed.
func readArticle(text []byte) (*article.Article, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	lim := article.Limits{Article: verifyMost, Header: verifyMost, Field: verifyMost, Line: verifyMost}
	wire, err := article.Normalize(text, lim)
	if err != nil {
		return nil, err
	}
	return article.Parse(wire, lim)
}

// judged judges an article as if it came now; one that is here is judged as of its arrival.
func (c *control) judged(ctx context.Context, a *article.Article) (keyJSON, error) {
	p, result, hold, err := c.core.keys.Verify(ctx, a, c.core.now(), false)
	switch {
	case result == "":
		return keyJSON{}, err
	case err != nil:
		return verdict(pki.Result(result), err.Error()), nil
	}
	if e, err := c.core.spool.ByID(ctx, a.ID()); err == nil && e.Proof.Digest == p.Digest && p.State == article.ProofHolds {
		groups, _ := article.LenientGroups(e.Newsgroups, 0)
		if result, err = c.core.keys.Judge(ctx, e.Proof, e.Arrived, groups); err != nil {
			return keyJSON{}, err
		}
	}
	detail := ""
	if p.State == article.ProofHolds {
		detail = c.about(p)
	}
	if !hold.IsZero() {
		detail += "; its time of signing lies ahead of this clock, it would wait until " + hold.UTC().Format(time.RFC1123)
	}
	out := verdict(pki.Result(result), detail)
	out.ID, out.Purpose = p.Identity, p.Purpose
	return out, nil
}

// verdict is a result and what there is to say of it. Scripts look for the result: where
// the rest repeats such a word, as a name or out of the article, it is left away.
func verdict(r pki.Result, detail string) keyJSON {
	all := []pki.Result{pki.ResultVerified, pki.ResultUnknownKey, pki.ResultDisputed, pki.ResultNoRight, pki.ResultInvalid, pki.ResultNone}
	words := strings.FieldsFunc(strings.ToLower(detail), func(c rune) bool { return c != '-' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(all, pki.Result(strings.Trim(w, "-"))) }) {
		detail = ""
	}
	return keyJSON{Result: string(r), Detail: detail}
}

// about says who signed, in a few words.
func (c *control) about(p article.Proof) string {
	id, err := pki.ParseID(p.Identity)
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "signed %s as %s by id:%s", time.Unix(p.Time, 0).UTC().Format(time.RFC3339), p.Purpose, p.Identity)
	if name := c.core.keys.Names()[id]; name != "" {
		fmt.Fprintf(&b, " (%s)", name)
	}
	return b.String()
}
