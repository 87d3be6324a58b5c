package syndicate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"iter"
	"strings"
	"time"
)

// parseJSON reads JSON Feed 1.0 and 1.1. It walks over the document once and decodes
// one item at a time, so that a document of a million empty items costs no more than
// its octets; what is of another type than it should be is passed over, and a document
// that is cut off gives what it holds.
func parseJSON(b []byte, lim Bounds) (*Feed, error) {
	if depth := jsonDepth(b); depth > lim.Depth {
		return nil, fmt.Errorf("JSON nested %d deep, the limit is %d", depth, lim.Depth)
	}
	f := &Feed{Kind: "json"}
	version, items := "", false
	for key, val := range jsonMembers(b) {
		switch key {
		case "version":
			version = looseText(val)
		case "title":
			f.Title = plain(html.EscapeString(looseText(val)))
		case "home_page_url":
			f.Link = looseText(val)
		case "description":
			f.Description = plain(html.EscapeString(looseText(val)))
		case "language":
			f.Language = looseText(val)
		case "items":
			items = len(val) > 0 && val[0] == '['
			f.jsonItems(val, lim)
		}
	}
	if !strings.Contains(version, "jsonfeed.org/version/") && !items {
		return nil, fmt.Errorf("%w: JSON without a version of jsonfeed.org and without items", ErrNoFeed)
	}
	return f, nil
}

// jsonItems appends the first items of an array.
func (f *Feed) jsonItems(list []byte, lim Bounds) {
	for raw := range jsonElements(list) {
		if raw[0] != '{' {
			continue
		}
		if len(raw) > lim.Entry || len(f.Entries) >= lim.Entries {
			f.Skipped++
			continue
		}
		var it jsonIn
		if json.Unmarshal(raw, &it) == nil {
			f.Entries = append(f.Entries, it.entry())
		}
	}
}

// loose is text that others write as a number, or as something that is none.
type loose string

// UnmarshalJSON takes a string or a number; anything else is no text.
func (l *loose) UnmarshalJSON(b []byte) error {
	*l = loose(looseText(b))
	return nil
}

func looseText(b []byte) string {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return ""
	case b[0] == '"':
		var s string
		_ = json.Unmarshal(b, &s)
		return s
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		return string(b)
	}
	return ""
}

// many is a list, or nothing where it is none.
type many[T any] []T

// UnmarshalJSON takes at most 100 elements that are what they should be.
func (m *many[T]) UnmarshalJSON(b []byte) error {
	for raw := range jsonElements(b) {
		var v T
		if json.Unmarshal(raw, &v) == nil {
			*m = append(*m, v)
		}
		if len(*m) == 100 {
			break
		}
	}
	return nil
}

type jsonPerson struct{ Name, URL loose }

// UnmarshalJSON takes an object, or a name alone.
func (p *jsonPerson) UnmarshalJSON(b []byte) error {
	p.Name = loose(looseText(b))
	for key, val := range jsonMembers(b) {
		switch key {
		case "name":
			p.Name = loose(looseText(val))
		case "url":
			p.URL = loose(looseText(val))
		}
	}
	return nil
}

// jsonIn is an item as it comes.
type jsonIn struct {
	ID          loose             `json:"id"`
	URL         loose             `json:"url"`
	External    loose             `json:"external_url"`
	Title       loose             `json:"title"`
	HTML        loose             `json:"content_html"`
	Text        loose             `json:"content_text"`
	Summary     loose             `json:"summary"`
	Published   loose             `json:"date_published"`
	Modified    loose             `json:"date_modified"`
	Author      jsonPerson        `json:"author"`
	Authors     many[jsonPerson]  `json:"authors"`
	Tags        many[loose]       `json:"tags"`
	Attachments many[jsonEncFile] `json:"attachments"`
}

type jsonEncFile struct {
	URL  loose `json:"url"`
	Type loose `json:"mime_type"`
	Size loose `json:"size_in_bytes"`
}

// UnmarshalJSON passes over what is no object.
func (f *jsonEncFile) UnmarshalJSON(b []byte) error {
	for key, val := range jsonMembers(b) {
		switch key {
		case "url":
			f.URL = loose(looseText(val))
		case "mime_type":
			f.Type = loose(looseText(val))
		case "size_in_bytes":
			f.Size = loose(looseText(val))
		}
	}
	return nil
}

func (it *jsonIn) entry() Entry {
	e := Entry{ID: strings.TrimSpace(string(it.ID)), Link: strings.TrimSpace(string(it.URL)), Title: plain(html.EscapeString(string(it.Title))), HTML: string(it.HTML)}
	if e.Link == "" {
		e.Link = strings.TrimSpace(string(it.External))
	}
	for _, text := range [...]loose{it.Text, it.Summary} { // "content_html", else text
		if e.HTML == "" && text != "" {
			e.HTML = textHTML(string(text))
		}
	}
	for _, p := range append(it.Authors, it.Author) {
		if e.Author == "" {
			e.Author = plain(html.EscapeString(string(p.Name)))
		}
	}
	e.Published, e.Updated = jsonDate(it.Published), jsonDate(it.Modified)
	e.BadDate = it.Published != "" && e.Published.IsZero() || it.Modified != "" && e.Updated.IsZero()
	for _, t := range it.Tags {
		if t != "" {
			e.Categories = append(e.Categories, string(t))
		}
	}
	for _, f := range it.Attachments {
		if f.URL != "" {
			e.Enclosures = append(e.Enclosures, Enclosure{URL: string(f.URL), Type: string(f.Type), Length: octets(string(f.Size))})
		}
	}
	e.complete()
	return e
}

// jsonDate reads RFC 3339, as JSON Feed wants it, or a date alone.
func jsonDate(s loose) time.Time {
	for _, form := range [...]string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly, time.RFC1123Z, time.RFC1123} {
		if t, err := time.Parse(form, strings.TrimSpace(string(s))); err == nil {
			return sane(&t)
		}
	}
	return time.Time{}
}

// textHTML writes plain text as HTML, a paragraph where an empty line is.
func textHTML(s string) string {
	var out []string
	for p := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, "<p>"+strings.ReplaceAll(html.EscapeString(p), "\n", "<br>\n")+"</p>")
		}
	}
	return strings.Join(out, "\n")
}

func jsonDepth(b []byte) int {
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// jsonMembers yields the members of an object with their values as they stand, the
// last one cut off if the document is. It builds nothing.
func jsonMembers(b []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for part := range jsonParts(b, '{') {
			end := jsonString(part)
			if end == 0 {
				continue
			}
			rest := bytes.TrimLeft(part[end:], " \t\r\n")
			if len(rest) < 2 || rest[0] != ':' {
				continue
			}
			if !yield(looseText(part[:end]), bytes.TrimSpace(rest[1:])) {
				return
			}
		}
	}
}

// jsonElements yields the elements of an array as they stand.
func jsonElements(b []byte) iter.Seq[[]byte] { return jsonParts(b, '[') }

// jsonParts yields what stands between the commas of an object or array.
func jsonParts(b []byte, open byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		b = bytes.TrimSpace(b)
		if len(b) == 0 || b[0] != open {
			return
		}
		depth, from := 0, 1
		for i := 0; i < len(b); i++ {
			switch c := b[i]; c {
			case '"':
				n := jsonString(b[i:])
				if n == 0 { // cut off
					n = len(b) - i
				}
				i += n - 1
			case '{', '[':
				depth++
			case '}', ']', ',':
				if c != ',' {
					depth--
				}
				if depth > 1 || depth == 1 && c != ',' {
					continue
				}
				if part := bytes.TrimSpace(b[from:i]); len(part) > 0 && !yield(part) {
					return
				}
				if from = i + 1; depth == 0 {
					return
				}
			}
		}
		if part := bytes.TrimSpace(b[from:]); len(part) > 0 { // cut off
			yield(part)
		}
	}
}

// jsonString is the length of the string at the start of b, 0 if there is no whole one.
func jsonString(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
