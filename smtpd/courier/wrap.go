package courier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/emersion/go-message"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// plainMail says how a signed article may travel as it is: octets over 127 in its
// body need 8BITMIME, in its header they need to be wrapped, as lines of over 998
// octets do: a mail server that encodes them anew breaks the signature (pki.md §2.6).
func plainMail(head, body []byte) (asItIs, eight bool) {
	if over127(head) || longest(head) > 998 || longest(body) > 998 {
		return false, false
	}
	return true, over127(body)
}

func over127(b []byte) bool {
	for _, c := range b {
		if c >= 128 {
			return true
		}
	}
	return false
}

// longest is the length of the longest line, without its end.
func longest(b []byte) (most int) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return max(most, len(b))
		}
		most = max(most, i-1)
		b = b[i+1:]
	}
	return most
}

// wrap puts a signed article whole into a mail: its text to be read, and the
// article itself as an attached message in base64, which no mail server changes. The
// mail has the article's Message-ID: so a node that gets it knows what it stands for.
// from, if not "", stands in for From.
func (c *Courier) wrap(a *article.Article, g spool.GroupInfo, from string) letter {
	var h bytes.Buffer
	reply := a.Get("Reply-To")
	if from == "" {
		from = inASCII("From", a.Get("From"))
	} else if reply == "" {
		reply = a.Get("From")
	}
	fmt.Fprintf(&h, "%sTo: %s\r\n%sDate: %s\r\nMessage-ID: %s\r\n", field("From", from), c.address(string(g.Name)),
		field("Subject", inASCII("Subject", a.Get("Subject"))), a.Get("Date"), a.ID())
	if refs := article.ParseReferences(a.Overview().References); len(refs) > 0 {
		h.WriteString("References:")
		for _, id := range refs {
			fmt.Fprintf(&h, " %s\r\n", id)
		}
	}
	if reply != "" {
		h.WriteString(field("Reply-To", inASCII("Reply-To", reply)))
	}
	h.Write(c.listFields(g, a.ID()))
	sum := sha256.Sum256(a.Wire())
	text := textOf(a, 0, maxReadable, "[cut here: the rest is in the attached article]\n")
	writeMultipart(&h, "mixed", "=_art"+hex.EncodeToString(sum[:12]), func(w *message.Writer) {
		writePart(w, []byte(strings.ReplaceAll(text, "\n", "\r\n")), "Content-Type", "text/plain; charset=utf-8", "Content-Transfer-Encoding", "quoted-printable")
		writePart(w, whole(a), "Content-Type", "message/rfc822", "Content-Disposition", `attachment; filename="article.eml"`, "Content-Transfer-Encoding", "base64")
	})
	head, body, _ := bytes.Cut(h.Bytes(), []byte("\r\n\r\n"))
	return letter{head: append(head[:len(head):len(head)], "\r\n"...), body: body}
}

// writeMultipart writes the MIME fields and the body of a multipart behind the fields
// that stand in out. Into memory: nothing can fail.
func writeMultipart(out *bytes.Buffer, kind, boundary string, parts func(*message.Writer)) {
	var h message.Header
	h.SetContentType("multipart/"+kind, map[string]string{"boundary": boundary})
	w, err := message.CreateWriter(out, h)
	if err != nil {
		return
	}
	parts(w)
	_ = w.Close()
}

// writePart writes a part with these fields, name by value.
func writePart(w *message.Writer, body []byte, fields ...string) {
	var h message.Header
	for i := 0; i+1 < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	p, err := w.CreatePart(h)
	if err != nil {
		return
	}
	_, _ = p.Write(body)
	_ = p.Close()
}

// whole is an article without the fields of news that do not travel by mail.
func whole(a *article.Article) []byte {
	var out bytes.Buffer
	for name, v := range a.Fields() {
		if !drop(name) {
			fmt.Fprintf(&out, "%s:%s\r\n", name, v)
		}
	}
	out.WriteString("\r\n")
	out.Write(a.Body())
	return out.Bytes()
}

// maxReadable bounds the text beside a wrapped article, in octets.
const maxReadable = 64 << 10
