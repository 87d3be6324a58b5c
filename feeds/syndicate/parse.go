package syndicate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mmcdole/gofeed"

	"github.com/litfass/litfass/article"
)

// Feed is one parsed document, whatever its format was.
type Feed struct {
	Kind        string // rss, atom, json
	Title       string // plain text
	Link        string // of the site
	Description string
	Language    string
	TTL         time.Duration // RSS ttl, or 0
	Entries     []Entry       // at most Bounds.Entries, in the document's order
	Skipped     int           // entries left out because a bound was passed
}

// Entry is one item of a feed.
type Entry struct {
	ID         string // guid or id, else the link, else a hash of title and content; never empty
	Link       string
	Title      string // plain text
	Author     string
	Published  time.Time // zero if unknown or out of 1970..2100
	Updated    time.Time
	HTML       string // the fuller of content and summary; hostile
	Categories []string
	Enclosures []Enclosure
	BadDate    bool `json:",omitempty"` // it has a date that cannot be
}

// Enclosure is a file that belongs to an entry.
type Enclosure struct {
	URL    string
	Type   string
	Length int64 // 0: unknown
}

// ErrNoFeed is wrapped by Parse's errors for what is no feed of a known kind.
var ErrNoFeed = errors.New("this is no RSS, Atom or JSON feed")

// entriesAtOnce is how many entries gofeed sees in one piece: it builds trees
// some 200 times as large as their text.
const entriesAtOnce = 20

// Parse reads an RSS 0.9x, 1.0, 2.0, Atom 0.3, 1.0 or JSON Feed document of any
// charset. contentType is HTTP's, or "". Truncated documents give what they hold.
func Parse(b []byte, contentType string, lim Bounds) (*Feed, error) {
	lim = lim.orDefault()
	if len(b) > lim.Bytes {
		return nil, fmt.Errorf("document of %d octets, the limit is %d", len(b), lim.Bytes)
	}
	b = toUTF8(b, contentType)
	text := bytes.TrimLeft(b, " \t\r\n")
	if len(text) > 0 && text[0] == '{' {
		return parseJSON(text, lim)
	}
	texts := newBodies(b)
	if bytes.Contains(b, []byte(":base")) { // addresses in texts would have to be resolved
		texts = nil
	}
	return parseXML(b, lim, texts)
}

// parseXML parses a document in UTF-8, its long texts apart if texts is not nil.
func parseXML(b []byte, lim Bounds, texts *bodies) (*Feed, error) {
	o, err := scan(b, lim)
	if err != nil {
		return nil, err
	}
	switch o.root {
	case "rss", "rdf", "feed":
	case "channel":
		if bytes.Contains(b[:min(len(b), 2048)], []byte(".cdf")) || bytes.Contains(b[:min(len(b), 2048)], []byte("<CHANNEL")) {
			return nil, fmt.Errorf("%w: CDF, a format of 1997 that nobody uses any more", ErrNoFeed)
		}
	case "html":
		return nil, fmt.Errorf("%w: a web page; its feed may be found by discovery", ErrNoFeed)
	case "":
		return nil, fmt.Errorf("%w: no element in it", ErrNoFeed)
	}
	f := &Feed{TTL: ttl(b), Skipped: o.skipped}
	err = o.pieces(b, entriesAtOnce, texts, func(doc []byte) error { return f.parsePiece(doc, texts) })
	if err != nil {
		return nil, err
	}
	return f, nil
}

// parsePiece lets gofeed read one piece and appends what is in it. A panic of
// the library is an error of the document.
func (f *Feed) parsePiece(doc []byte, texts *bodies) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up on this document: %v", r)
		}
	}()
	g, err := gofeed.NewParser().Parse(bytes.NewReader(doc))
	if err != nil {
		if errors.Is(err, gofeed.ErrFeedTypeNotDetected) {
			return ErrNoFeed
		}
		return err
	}
	if f.Kind == "" {
		f.Kind, f.Title, f.Link = g.FeedType, plain(g.Title), g.Link
		f.Description, f.Language = plain(g.Description), g.Language
	}
	for _, it := range g.Items {
		if it != nil {
			if texts != nil {
				it.Content, it.Description = texts.text(it.Content), texts.text(it.Description)
			}
			f.Entries = append(f.Entries, entry(it))
		}
	}
	return nil
}

var ttlTag = regexp.MustCompile(`<ttl>\s*([0-9]{1,6})\s*</ttl>`)

// ttl finds RSS's minutes between polls, which the library leaves out.
func ttl(b []byte) time.Duration {
	m := ttlTag.FindSubmatch(b[:min(len(b), 64<<10)])
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(string(m[1]))
	return min(time.Duration(n)*time.Minute, 30*24*time.Hour)
}

func entry(it *gofeed.Item) Entry {
	e := Entry{
		ID: strings.TrimSpace(it.GUID), Link: strings.TrimSpace(it.Link), Title: plain(it.Title),
		HTML: it.Content, Categories: it.Categories,
	}
	if len(it.Description) > len(e.HTML) {
		e.HTML = it.Description
	}
	for _, a := range it.Authors {
		if a != nil && e.Author == "" {
			if e.Author = plain(a.Name); e.Author == "" {
				e.Author = plain(a.Email)
			}
		}
	}
	e.Published, e.Updated = dateOf(it.Published, it.PublishedParsed), dateOf(it.Updated, it.UpdatedParsed)
	e.BadDate = it.Published != "" && e.Published.IsZero() || it.Updated != "" && e.Updated.IsZero()
	for _, c := range it.Enclosures {
		if c != nil && c.URL != "" {
			e.Enclosures = append(e.Enclosures, Enclosure{URL: c.URL, Type: c.Type, Length: octets(c.Length)})
		}
	}
	e.complete()
	return e
}

// resolve makes links and enclosures absolute: what is relative counts from the site
// (as in the feed's own link), and that from where the document was.
func (f *Feed) resolve(document string) {
	base, err := url.Parse(document)
	if err != nil {
		return
	}
	f.Link = absolute(base, f.Link)
	if site, err := url.Parse(f.Link); err == nil && site.Host != "" {
		base = site
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		e.Link = absolute(base, e.Link)
		for j := range e.Enclosures {
			e.Enclosures[j].URL = absolute(base, e.Enclosures[j].URL)
		}
	}
}

func absolute(base *url.URL, ref string) string {
	if ref == "" || strings.HasPrefix(ref, "http://") || strings.HasPrefix(ref, "https://") {
		return ref
	}
	u, err := base.Parse(strings.TrimSpace(ref))
	if err != nil {
		return ref
	}
	return u.String()
}

// complete fills in what can be told from the rest.
func (e *Entry) complete() {
	if e.Published.IsZero() {
		e.Published = e.Updated
	}
	if e.ID == "" {
		e.ID = e.Link
	}
	if e.ID == "" {
		sum := sha256.Sum256([]byte(e.Title + "\x00" + e.HTML))
		e.ID = hex.EncodeToString(sum[:16])
	}
}

// octets reads the length of a file, 0 if it is none.
func octets(s string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return max(n, 0)
}

// dateOf is a date as gofeed read it, or as articles write theirs, which it does not all read.
func dateOf(text string, t *time.Time) time.Time {
	if t == nil {
		if d, err := article.ParseDate(text); err == nil {
			t = &d
		}
	}
	return sane(t)
}

// sane drops dates that no feed entry has: years 0 and 9999 were seen.
func sane(t *time.Time) time.Time {
	if t == nil || t.Year() < 1970 || t.Year() > 2100 {
		return time.Time{}
	}
	return t.UTC()
}
