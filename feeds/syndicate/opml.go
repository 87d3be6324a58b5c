package syndicate

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Subscription is one line of an OPML file.
type Subscription struct {
	URL    string
	Title  string
	Folder string // names of the folders around it, joined by "/"
	Group  string // the newsgroup, in documents of WriteOPML; else ""
}

// newsgroup begins the category by which WriteOPML tells ReadOPML the group: OPML 2.0
// has "category" for what no other attribute says.
const newsgroup = "/newsgroup/"

// The bounds of an OPML document.
const (
	opmlBytes = 2 << 20
	opmlDepth = 16
	opmlFeeds = 5000
)

// ReadOPML lists the feeds of an OPML 1.0 or 2.0 document, each address once. It
// passes over outlines without xmlUrl and says in skipped which addresses it
// would not take, and why.
func ReadOPML(r io.Reader) (subs []Subscription, skipped []string, err error) {
	b, err := io.ReadAll(io.LimitReader(r, opmlBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > opmlBytes {
		return nil, nil, fmt.Errorf("OPML of over %d octets, the limit", opmlBytes)
	}
	d := xml.NewDecoder(strings.NewReader(string(toUTF8(b, ""))))
	d.Strict = false
	d.Entity = xml.HTMLEntity
	var folders []string
	seen := map[string]bool{}
	root := false
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("read OPML: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if t.Name.Local == "opml" {
				root = true
			}
			if t.Name.Local != "outline" {
				continue
			}
			if len(folders) >= opmlDepth {
				return nil, nil, fmt.Errorf("OPML nested deeper than %d", opmlDepth)
			}
			s := outlineOf(t)
			s.Folder = folderName(folders)
			folders = append(folders, s.Title)
			if s.URL == "" || seen[s.URL] {
				continue
			}
			seen[s.URL] = true
			switch u, err := ParseURL(s.URL); {
			case err != nil:
				skipped = append(skipped, err.Error())
			case len(subs) == opmlFeeds:
				skipped = append(skipped, fmt.Sprintf("%s: over %d feeds in one document", s.URL, opmlFeeds))
			default:
				s.URL = u.String()
				subs = append(subs, s)
			}
		case xml.EndElement:
			if t.Name.Local == "outline" && len(folders) > 0 {
				folders = folders[:len(folders)-1]
			}
		}
	}
	if !root {
		return nil, nil, fmt.Errorf("no <opml> element: this is no OPML document")
	}
	return subs, skipped, nil
}

func outlineOf(t xml.StartElement) (s Subscription) {
	for _, a := range t.Attr {
		switch strings.ToLower(a.Name.Local) {
		case "title":
			s.Title = plain(a.Value)
		case "text":
			if s.Title == "" {
				s.Title = plain(a.Value)
			}
		case "xmlurl":
			s.URL = strings.TrimSpace(a.Value)
		case "category":
			if g, ok := strings.CutPrefix(a.Value, newsgroup); ok {
				s.Group = g
			}
		}
	}
	s.Title = cutText(s.Title, 100)
	return s
}

func folderName(parts []string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, strings.ReplaceAll(p, "/", "-"))
		}
	}
	return strings.Join(out, "/")
}

// opmlOutline is a feed or a folder.
type opmlOutline struct {
	Text     string        `xml:"text,attr"`
	Type     string        `xml:"type,attr,omitempty"`
	URL      string        `xml:"xmlUrl,attr,omitempty"`
	Category string        `xml:"category,attr,omitempty"`
	Sub      []opmlOutline `xml:"outline"`
}

// WriteOPML writes an OPML 2.0 document.
func WriteOPML(w io.Writer, title string, subs []Subscription) error {
	doc := struct {
		XMLName xml.Name      `xml:"opml"`
		Version string        `xml:"version,attr"`
		Title   string        `xml:"head>title"`
		Body    []opmlOutline `xml:"body>outline"`
	}{Version: "2.0", Title: xmlText(title)}
	for _, s := range subs {
		o := opmlOutline{Text: xmlText(s.Title), Type: "rss", URL: s.URL}
		if o.Text == "" {
			o.Text = s.URL
		}
		if s.Group != "" {
			o.Category = newsgroup + s.Group
		}
		at := &doc.Body
		for name := range strings.SplitSeq(s.Folder, "/") {
			if name != "" {
				at = folder(at, name)
			}
		}
		*at = append(*at, o)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// folder is what is in the folder of that name, which is made if need be.
func folder(in *[]opmlOutline, name string) *[]opmlOutline {
	for i := range *in {
		if o := &(*in)[i]; o.Text == name && o.URL == "" {
			return &o.Sub
		}
	}
	*in = append(*in, opmlOutline{Text: xmlText(name)})
	return &(*in)[len(*in)-1].Sub
}
