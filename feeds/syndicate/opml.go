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
}

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
			title, address := outlineOf(t)
			folders = append(folders, title)
			if address == "" || seen[address] {
				continue
			}
			if u, err := ParseURL(address); err != nil {
				skipped = append(skipped, err.Error())
			} else if len(subs) < opmlFeeds {
				seen[address] = true
				subs = append(subs, Subscription{URL: u.String(), Title: title, Folder: folderName(folders[:len(folders)-1])})
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

func outlineOf(t xml.StartElement) (title, address string) {
	for _, a := range t.Attr {
		switch strings.ToLower(a.Name.Local) {
		case "title":
			title = plain(a.Value)
		case "text":
			if title == "" {
				title = plain(a.Value)
			}
		case "xmlurl":
			address = strings.TrimSpace(a.Value)
		}
	}
	return cutText(title, 100), address
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

// WriteOPML writes an OPML 2.0 document, one folder a group.
func WriteOPML(w io.Writer, title string, subs []Subscription) error {
	type outline struct {
		Text string    `xml:"text,attr"`
		Type string    `xml:"type,attr,omitempty"`
		URL  string    `xml:"xmlUrl,attr,omitempty"`
		Sub  []outline `xml:"outline"`
	}
	doc := struct {
		XMLName xml.Name  `xml:"opml"`
		Version string    `xml:"version,attr"`
		Title   string    `xml:"head>title"`
		Body    []outline `xml:"body>outline"`
	}{Version: "2.0", Title: title}
	at := map[string]int{}
	for _, s := range subs {
		o := outline{Text: s.Title, Type: "rss", URL: s.URL}
		if o.Text == "" {
			o.Text = s.URL
		}
		if s.Folder == "" {
			doc.Body = append(doc.Body, o)
			continue
		}
		i, ok := at[s.Folder]
		if !ok {
			i = len(doc.Body)
			at[s.Folder] = i
			doc.Body = append(doc.Body, outline{Text: s.Folder})
		}
		doc.Body[i].Sub = append(doc.Body[i].Sub, o)
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
