package webforum

import (
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/spill"
)

// composed is what a visitor wrote, before it is an article.
type composed struct {
	Name, Email, Subject, Body string
	Groups                     string // Newsgroups
	FollowupTo                 string
	References                 []article.ID
	Supersedes                 article.ID
	Cancel                     article.ID
	ID                         article.ID // "": the agent makes one
	files                      []upload
	parts                      []*content.Part // of the version that this one replaces
}

type upload struct {
	name, typ string
	data      *spill.Buffer
}

func (c *composed) close() {
	for _, u := range c.files {
		u.data.Close()
	}
}

const boundary = "=_litfass_part"

// draft writes what was composed as a proto-article: text as format=flowed
// (RFC 3676), files as base64 parts (RFC 2046 §5.1). The body may lie in a
// temporary file; the caller closes it.
func (v *visitor) draft(c *composed) (*article.Draft, *spill.Buffer, error) {
	d := &article.Draft{Header: [][2]string{
		{"From", content.Address(c.Name, c.Email)},
		{"Newsgroups", c.Groups},
		{"Subject", content.Encode(c.Subject)},
	}}
	add := func(name, value string) {
		if value != "" {
			d.Header = append(d.Header, [2]string{name, value})
		}
	}
	add("Message-ID", string(c.ID))
	add("References", foldIDs(c.References))
	add("Followup-To", c.FollowupTo)
	add("Supersedes", string(c.Supersedes))
	if c.Cancel != "" {
		add("Control", "cancel "+string(c.Cancel))
	}
	add("User-Agent", "litfass (web)")
	add("MIME-Version", "1.0")
	buf := spill.New(v.Temp, 256<<10, 2*v.MaxPost+1<<20)
	text := flowed(c.Body) + v.detachedBlocks(c.parts)
	if len(c.files)+len(c.parts) == 0 {
		typ, enc := textType(text)
		add("Content-Type", typ)
		add("Content-Transfer-Encoding", enc)
		if _, err := io.WriteString(buf, text); err != nil {
			buf.Close()
			return nil, nil, err
		}
		d.Body = buf
		return d, buf, nil
	}
	add("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
	if err := writeParts(buf, text, c.files, c.parts); err != nil {
		buf.Close()
		return nil, nil, err
	}
	d.Body = buf
	return d, buf, nil
}

func textType(text string) (typ, enc string) {
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x80 {
			return "text/plain; charset=utf-8; format=flowed", "8bit"
		}
	}
	return "text/plain; charset=us-ascii; format=flowed", "7bit"
}

func writeParts(w io.Writer, text string, files []upload, kept []*content.Part) error {
	typ, enc := textType(text)
	_, err := fmt.Fprintf(w, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", boundary, typ, enc, text)
	if err != nil {
		return err
	}
	for _, p := range kept {
		if err := writeKept(w, p); err != nil {
			return err
		}
	}
	for _, u := range files {
		disp := mime.FormatMediaType("attachment", map[string]string{"filename": u.name})
		if _, err := fmt.Fprintf(w, "\r\n--%s\r\nContent-Type: %s\r\nContent-Disposition: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, u.typ, disp); err != nil {
			return err
		}
		if _, err := u.data.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := content.CopyBase64(w, u.data); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "\r\n--%s--\r\n", boundary)
	return err
}

// flowed writes a text as format=flowed: long lines are broken at blanks, the blank
// staying at the end; lines that could be misread are stuffed (RFC 3676 §4.2, §4.4).
func flowed(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	text = strings.Trim(strings.ReplaceAll(text, "\x00", ""), "\n")
	var b strings.Builder
	for l := range strings.SplitSeq(text, "\n") {
		if l == "-- " {
			b.WriteString("-- \r\n")
			continue
		}
		depth := 0
		for strings.HasPrefix(l, ">") {
			depth++
			l = strings.TrimPrefix(l[1:], " ")
		}
		l = strings.TrimRight(l, " \t")
		prefix := strings.Repeat(">", depth)
		if depth > 0 {
			prefix += " "
		}
		width := 76 - len(prefix)
		if depth > 0 {
			width = 990 - len(prefix) // what somebody else wrote is not broken again
		}
		for {
			n := breakAt(l, width)
			stuff := ""
			if depth == 0 && (strings.HasPrefix(l, " ") || strings.HasPrefix(l, "From ") || strings.HasPrefix(l, ">")) {
				stuff = " "
			}
			b.WriteString(prefix + stuff + l[:n])
			b.WriteString("\r\n")
			if l = l[n:]; l == "" {
				break
			}
		}
	}
	return b.String()
}

// breakAt is the length of the next line of a paragraph: up to and with the last
// blank within width, or the first after it; never over 990 octets.
func breakAt(l string, width int) int {
	if utf8.RuneCountInString(l) <= width+2 && len(l) <= 990 {
		return len(l)
	}
	n, last := 0, 0
	for i, r := range l {
		if r == ' ' && i > 0 && i+1 < len(l) {
			if last = i + 1; n > width {
				break
			}
		}
		if n++; n > width && last > 0 || i > 980 {
			break
		}
	}
	if last > 0 && last < 990 {
		return last
	}
	if len(l) <= 990 {
		return len(l)
	}
	n = 980
	for !utf8.RuneStart(l[n]) {
		n--
	}
	return n
}

// foldIDs writes References, one id a line, at most 21: the first and the last
// (RFC 5537 §3.4.4).
func foldIDs(ids []article.ID) string {
	if len(ids) > 21 {
		ids = append([]article.ID{ids[0]}, ids[len(ids)-20:]...)
	}
	var out []string
	for _, id := range ids {
		out = append(out, string(id))
	}
	return strings.Join(out, "\r\n ")
}

// quote is an article's text as a reply begins with: its author named, each line
// marked, the signature left out.
func (v *visitor) quote(a *article.Article, author string) string {
	c := content.Of(a)
	var b strings.Builder
	b.WriteString(v.tx.T("reply.wrote", author) + "\n")
	for _, x := range c.Blocks(nil) {
		text := x.Text
		switch x.Kind {
		case content.Signature, content.Notice:
			continue
		case content.HTML:
			text = ""
			for _, p := range c.Parts {
				if p.Text && !p.Hidden && p.Type == "text/html" {
					text = p.PlainText()
				}
			}
		}
		mark := strings.Repeat(">", min(x.Depth, 8)+1)
		for l := range strings.SplitSeq(text, "\n") {
			if l == "" {
				b.WriteString(mark + "\n")
			} else {
				b.WriteString(mark + " " + l + "\n")
			}
		}
		if b.Len() > 64<<10 {
			break
		}
	}
	return b.String() + "\n"
}
