package syndicate

import (
	"bytes"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Discover returns the feeds that a web page names by <link rel="alternate">, as
// absolute addresses, at most five; then the places where feeds often are.
func Discover(page []byte, base string) []string {
	b, err := url.Parse(base)
	if err != nil {
		return nil
	}
	var out []string
	add := func(href string) {
		if u, err := b.Parse(strings.TrimSpace(href)); err == nil && len(out) < 5 {
			if u, err := ParseURL(u.String()); err == nil {
				out = append(out, u.String())
			}
		}
	}
	z := html.NewTokenizer(bytes.NewReader(page[:min(len(page), 1<<20)]))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		t := z.Token()
		if t.Data != "link" {
			continue
		}
		at := map[string]string{}
		for _, a := range t.Attr {
			at[a.Key] = strings.ToLower(a.Val)
			if a.Key == "href" {
				at["href"] = a.Val
			}
		}
		if strings.Contains(at["rel"], "alternate") && (strings.Contains(at["type"], "rss") || strings.Contains(at["type"], "atom") || strings.Contains(at["type"], "feed+json")) {
			add(at["href"])
		}
	}
	if len(out) == 0 {
		for _, guess := range []string{"/feed", "/feed.xml", "/atom.xml", "/rss.xml", "/index.xml"} {
			add(guess)
		}
	}
	return out
}
