package syndicate

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strconv"
	"strings"
	"time"
)

// Out is a feed about to be written. Its ids are stable: they come from group
// names and Message-IDs.
type Out struct {
	ID          string // a URI
	Title       string
	Description string
	Language    string
	Page        string // the web page that shows the same
	Self        string // this document's address
	Next, Prev  string // older and newer pages (RFC 5005), or ""
	Updated     time.Time
	Items       []OutItem
	Podcast     bool   // add the itunes fields that players need
	Image       string // cover of a podcast, or ""
}

// OutItem is one article in an Out.
type OutItem struct {
	ID         string // urn: or mid: URI, stable
	Title      string
	Author     string
	Page       string // its permalink
	Date       time.Time
	HTML       string // safe
	Categories []string
	InReplyTo  string // ID of the article it answers, or "" (RFC 4685)
	Files      []OutFile
}

// OutFile is an enclosure: over HTTP from this node, its torrent beside it.
type OutFile struct {
	URL, Type, Name string
	Length          int64
	Torrent         string // address of the .torrent, or ""
	Magnet          string
}

type atomLink struct {
	Rel    string `xml:"rel,attr,omitempty"`
	Type   string `xml:"type,attr,omitempty"`
	Href   string `xml:"href,attr"`
	Length string `xml:"length,attr,omitempty"`
	Title  string `xml:"title,attr,omitempty"`
}

type atomText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

type atomEntry struct {
	ID        string         `xml:"id"`
	Title     string         `xml:"title"`
	Published string         `xml:"published"`
	Updated   string         `xml:"updated"`
	Author    string         `xml:"author>name"`
	Links     []atomLink     `xml:"link"`
	Reply     *atomReply     `xml:"thr:in-reply-to"`
	Category  []atomCategory `xml:"category"`
	Content   atomText       `xml:"content"`
}

type atomReply struct {
	Ref string `xml:"ref,attr"`
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

type atomFeed struct {
	XMLName  xml.Name    `xml:"feed"`
	NS       string      `xml:"xmlns,attr"`
	Thr      string      `xml:"xmlns:thr,attr"`
	Lang     string      `xml:"xml:lang,attr,omitempty"`
	ID       string      `xml:"id"`
	Title    string      `xml:"title"`
	Subtitle string      `xml:"subtitle,omitempty"`
	Updated  string      `xml:"updated"`
	Links    []atomLink  `xml:"link"`
	Entries  []atomEntry `xml:"entry"`
}

// xmlText drops what XML 1.0 cannot hold.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 32 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// WriteAtom writes RFC 4287, with paging (RFC 5005) and threads (RFC 4685).
func (o *Out) WriteAtom(w io.Writer) error {
	f := atomFeed{NS: "http://www.w3.org/2005/Atom", Thr: "http://purl.org/syndication/thread/1.0",
		Lang: o.Language, ID: o.ID, Title: xmlText(o.Title), Subtitle: xmlText(o.Description), Updated: o.Updated.UTC().Format(time.RFC3339)}
	f.Links = []atomLink{{Rel: "self", Type: "application/atom+xml", Href: o.Self}, {Rel: "alternate", Type: "text/html", Href: o.Page}}
	for _, l := range [...][2]string{{"next", o.Next}, {"previous", o.Prev}} {
		if l[1] != "" {
			f.Links = append(f.Links, atomLink{Rel: l[0], Type: "application/atom+xml", Href: l[1]})
		}
	}
	for _, it := range o.Items {
		f.Entries = append(f.Entries, it.atom())
	}
	return writeXML(w, f)
}

func (it *OutItem) atom() atomEntry {
	e := atomEntry{ID: it.ID, Title: xmlText(it.Title), Author: xmlText(it.Author), Published: it.Date.UTC().Format(time.RFC3339), Updated: it.Date.UTC().Format(time.RFC3339),
		Content: atomText{"html", xmlText(it.HTML)}, Links: []atomLink{{Rel: "alternate", Type: "text/html", Href: it.Page}}}
	if it.InReplyTo != "" {
		e.Reply = &atomReply{it.InReplyTo}
	}
	for _, c := range it.Categories {
		e.Category = append(e.Category, atomCategory{xmlText(c)})
	}
	for _, f := range it.Files {
		e.Links = append(append(e.Links, f.link()), f.torrents()...)
	}
	return e
}

func (f *OutFile) link() atomLink {
	l := atomLink{Rel: "enclosure", Type: f.Type, Href: f.URL, Title: xmlText(f.Name)}
	if f.Length > 0 {
		l.Length = strconv.FormatInt(f.Length, 10)
	}
	return l
}

// torrents are the ways to the same file from other nodes.
func (f *OutFile) torrents() (out []atomLink) {
	if f.Torrent != "" {
		out = append(out, atomLink{Rel: "related", Type: "application/x-bittorrent", Href: f.Torrent})
	}
	if f.Magnet != "" {
		out = append(out, atomLink{Rel: "related", Href: f.Magnet, Title: "magnet"})
	}
	return out
}

// played says whether a player plays the file.
func (f *OutFile) played() bool {
	return strings.HasPrefix(f.Type, "audio/") || strings.HasPrefix(f.Type, "video/")
}

// picture is the address of the article's first picture that players can show, or "".
func (it *OutItem) picture() string {
	for _, f := range it.Files {
		if f.Type == "image/png" || f.Type == "image/jpeg" {
			return f.URL
		}
	}
	return ""
}

// main is the file that is the enclosure where there can be one only: what is played,
// before pictures and papers. -1: there is none.
func (it *OutItem) main() int {
	for i := range it.Files {
		if it.Files[i].played() {
			return i
		}
	}
	return min(len(it.Files), 1) - 1
}

func writeXML(w io.Writer, v any) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	return xml.NewEncoder(w).Encode(v)
}

type rssGUID struct {
	Permalink bool   `xml:"isPermaLink,attr"`
	ID        string `xml:",chardata"`
}

type rssEnclosure struct {
	URL    string `xml:"url,attr"`
	Length int64  `xml:"length,attr"`
	Type   string `xml:"type,attr"`
}

type rssItem struct {
	Title       string        `xml:"title"`
	Link        string        `xml:"link"`
	GUID        rssGUID       `xml:"guid"`
	Date        string        `xml:"pubDate"`
	Creator     string        `xml:"dc:creator,omitempty"`
	Category    []string      `xml:"category"`
	Description string        `xml:"description"`
	Enclosure   *rssEnclosure `xml:"enclosure"`
	Links       []atomLink    `xml:"atom:link"`
	Author      string        `xml:"itunes:author,omitempty"`
	Explicit    string        `xml:"itunes:explicit,omitempty"`
	Episode     string        `xml:"itunes:episodeType,omitempty"`
	Image       *rssImage     `xml:"itunes:image"`
}

type rssImage struct {
	Href string `xml:"href,attr"`
}

type rssGenre struct {
	Text string `xml:"text,attr"`
}

type rssChannel struct {
	Title       string     `xml:"title"`
	Link        string     `xml:"link"`
	Description string     `xml:"description"`
	Language    string     `xml:"language,omitempty"`
	Build       string     `xml:"lastBuildDate"`
	TTL         int        `xml:"ttl"`
	Links       []atomLink `xml:"atom:link"`
	Author      string     `xml:"itunes:author,omitempty"`
	Explicit    string     `xml:"itunes:explicit,omitempty"`
	Kind        string     `xml:"itunes:type,omitempty"`
	Image       *rssImage  `xml:"itunes:image"`
	Subject     *rssGenre  `xml:"itunes:category"`
	Items       []rssItem  `xml:"item"`
}

type rssFeed struct {
	XMLName xml.Name   `xml:"rss"`
	Version string     `xml:"version,attr"`
	Atom    string     `xml:"xmlns:atom,attr"`
	DC      string     `xml:"xmlns:dc,attr"`
	Itunes  string     `xml:"xmlns:itunes,attr,omitempty"`
	Channel rssChannel `xml:"channel"`
}

func imageOf(address string) *rssImage {
	if address == "" {
		return nil
	}
	return &rssImage{address}
}

// WriteRSS writes RSS 2.0; an RSS item has one enclosure, other files are links.
func (o *Out) WriteRSS(w io.Writer) error {
	c := rssChannel{Title: xmlText(o.Title), Link: o.Page, Description: xmlText(o.Description), Language: o.Language,
		Build: o.Updated.UTC().Format(time.RFC1123Z), TTL: 15, Links: []atomLink{{Rel: "self", Type: "application/rss+xml", Href: o.Self}}}
	if c.Description == "" {
		c.Description = c.Title
	}
	for _, l := range [...][2]string{{"next", o.Next}, {"previous", o.Prev}} {
		if l[1] != "" {
			c.Links = append(c.Links, atomLink{Rel: l[0], Href: l[1]})
		}
	}
	f := rssFeed{Version: "2.0", Atom: "http://www.w3.org/2005/Atom", DC: "http://purl.org/dc/elements/1.1/"}
	if o.Podcast {
		f.Itunes = "http://www.itunes.com/dtds/podcast-1.0.dtd"
		c.Author, c.Explicit, c.Kind, c.Subject, c.Image = c.Title, "false", "episodic", &rssGenre{"News"}, imageOf(o.Image)
	}
	for _, it := range o.Items {
		c.Items = append(c.Items, it.rss(o.Podcast))
	}
	f.Channel = c
	return writeXML(w, f)
}

func (it *OutItem) rss(podcast bool) rssItem {
	r := rssItem{Title: xmlText(it.Title), Link: it.Page, GUID: rssGUID{false, it.ID}, Date: it.Date.UTC().Format(time.RFC1123Z),
		Creator: xmlText(it.Author), Description: xmlText(it.HTML)}
	for _, c := range it.Categories {
		r.Category = append(r.Category, xmlText(c))
	}
	if podcast {
		r.Author, r.Explicit, r.Episode, r.Image = r.Creator, "false", "full", imageOf(it.picture())
	}
	first := it.main()
	for i, f := range it.Files {
		if i == first {
			r.Enclosure = &rssEnclosure{f.URL, f.Length, f.Type}
		} else {
			r.Links = append(r.Links, f.link())
		}
		r.Links = append(r.Links, f.torrents()...)
	}
	return r
}

type jsonFile struct {
	URL   string `json:"url"`
	Type  string `json:"mime_type"`
	Title string `json:"title,omitempty"`
	Size  int64  `json:"size_in_bytes,omitempty"`

	Torrent *jsonTorrent `json:"_torrent,omitempty"` // JSON Feed 1.1: names of extensions begin with "_"
}

type jsonTorrent struct {
	Magnet string `json:"magnet"`
	URL    string `json:"url,omitempty"`
}

type jsonAuthor struct {
	Name string `json:"name"`
}

type jsonItem struct {
	ID      string       `json:"id"`
	URL     string       `json:"url"`
	Title   string       `json:"title"`
	HTML    string       `json:"content_html"`
	Date    string       `json:"date_published"`
	Authors []jsonAuthor `json:"authors"`
	Tags    []string     `json:"tags,omitempty"`
	Files   []jsonFile   `json:"attachments,omitempty"`
}

type jsonFeed struct {
	Version string     `json:"version"`
	Title   string     `json:"title"`
	Page    string     `json:"home_page_url"`
	Self    string     `json:"feed_url"`
	Desc    string     `json:"description,omitempty"`
	Next    string     `json:"next_url,omitempty"`
	Lang    string     `json:"language,omitempty"`
	Items   []jsonItem `json:"items"`
}

// WriteJSON writes JSON Feed 1.1.
func (o *Out) WriteJSON(w io.Writer) error {
	f := jsonFeed{Version: "https://jsonfeed.org/version/1.1", Title: o.Title, Page: o.Page, Self: o.Self, Desc: o.Description,
		Next: o.Next, Lang: o.Language, Items: []jsonItem{}}
	for _, it := range o.Items {
		j := jsonItem{ID: it.ID, URL: it.Page, Title: it.Title, HTML: it.HTML, Date: it.Date.UTC().Format(time.RFC3339),
			Authors: []jsonAuthor{{it.Author}}, Tags: it.Categories}
		for _, e := range it.Files {
			file := jsonFile{URL: e.URL, Type: e.Type, Title: e.Name, Size: e.Length}
			if e.Magnet != "" {
				file.Torrent = &jsonTorrent{e.Magnet, e.Torrent}
			}
			j.Files = append(j.Files, file)
		}
		f.Items = append(f.Items, j)
	}
	return json.NewEncoder(w).Encode(f)
}
