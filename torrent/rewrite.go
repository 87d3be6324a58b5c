package torrent

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
)

// edit puts octets in the place of those from start to end of the old body.
type edit struct {
	start, end int64
	with       []byte
}

// rewrite plans the new body.
func (j *detaching) rewrite(root *node, picks []pick) error {
	text, err := j.textPart(picks)
	if err != nil {
		return err
	}
	textDone := text == nil
	for _, p := range picks {
		var parts [][]byte
		for _, a := range p.att {
			parts = append(parts, a.appendPart(nil))
		}
		switch {
		case p.n == j.text && text != nil:
			j.replace(p.n, append([][]byte{text}, parts...))
			textDone = true
		case len(p.in) > 0:
			rest, err := j.withoutFiles(p)
			if err != nil {
				return err
			}
			j.replace(p.n, append([][]byte{rest}, parts...))
		case p.n == root:
			j.replace(p.n, append([][]byte{j.newText()}, parts...))
			textDone = true
		default:
			j.replace(p.n, parts)
		}
	}
	switch {
	case textDone:
	case j.text != nil && !j.text.sealed:
		j.replace(j.text, [][]byte{text})
	case root.typ == "multipart/mixed" && root.multipart() && len(root.kids) > 0:
		at := root.kids[0].head
		j.edits = append(j.edits, edit{at, at, append(j.newText(), "\r\n--"+root.boundary+"\r\n"...)})
	default:
		j.wrap(root)
	}
	return nil
}

// textPart returns the first text part anew, with the block at its end; as a part
// with its header. Without one that may be changed it returns the text to be made.
func (j *detaching) textPart(picks []pick) ([]byte, error) {
	n := j.text
	if n == nil || n.sealed || !knownCharset(n) {
		j.text = nil
		return j.newText(), nil
	}
	var files []embedded
	for _, p := range picks {
		if p.n == n {
			files = p.in
		}
	}
	body, err := j.readText(n, files)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimRight(body, "\r\n")) == 0 {
		body = nil
	} else {
		body = append(bytes.TrimRight(body, "\r\n"), "\r\n\r\n"...)
	}
	ascii := !strings.EqualFold(charset(n), "utf-8") && charset(n) != ""
	h := slices.Clone(n.header)
	if cs := strings.ToLower(charset(n)); cs == "" || cs == "us-ascii" {
		params := map[string]string{"charset": "utf-8"}
		for k, v := range n.params {
			if k != "charset" {
				params[k] = v
			}
		}
		h = setField(h, "Content-Type", mime.FormatMediaType("text/plain", params))
		ascii = false
	}
	return textPart(h, append(body, j.blocks(ascii)...)), nil
}

func charset(n *node) string { return n.params["charset"] }

// knownCharset: the block's octets must mean the same in it as in ASCII.
func knownCharset(n *node) bool {
	cs := strings.ToLower(charset(n))
	if cs == "" || cs == "us-ascii" || cs == "utf-8" || cs == "koi8-r" || cs == "koi8-u" {
		return true
	}
	return strings.HasPrefix(cs, "iso-8859-") || strings.HasPrefix(cs, "windows-125") || cs == "gbk" || cs == "gb2312" || cs == "euc-jp" || cs == "euc-kr"
}

func setField(h mimeHeader, name, v string) mimeHeader {
	for i, f := range h {
		if strings.EqualFold(f[0], name) {
			h[i][1] = v
			return h
		}
	}
	return append(h, [2]string{name, v})
}

// newText is a text part that holds the blocks and nothing else.
func (j *detaching) newText() []byte {
	return textPart(mimeHeader{{"Content-Type", "text/plain; charset=utf-8"}}, []byte(j.blocks(false)))
}

func (j *detaching) blocks(ascii bool) string {
	var b strings.Builder
	for i, a := range j.out {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(a.block(i+1, len(j.out), j.dt.Store.cfg.URL, ascii))
	}
	return b.String()
}

// textPart writes a part: header, empty line, text; as it is if it can be so, for
// readers that show a multipart article raw (slrn), else as quoted-printable. Only
// MIME fields go along: of a root part the others are the article's.
func textPart(h mimeHeader, text []byte) []byte {
	encoding := "quoted-printable"
	if sevenBit(text) {
		encoding = "7bit"
	}
	b := append(appendFields(nil, setField(h, "Content-Transfer-Encoding", encoding)), "\r\n"...)
	if encoding == "7bit" {
		return append(b, text...)
	}
	var buf bytes.Buffer
	w := quotedprintable.NewWriter(&buf)
	_, _ = w.Write(text) // into memory
	_ = w.Close()
	return append(b, buf.Bytes()...)
}

// sevenBit says whether text may stand in an article as it is (RFC 2045 §2.7), and
// comes through gateways that cut blanks at the ends of lines.
func sevenBit(text []byte) bool {
	for line := range bytes.Lines(text) {
		line, whole := bytes.CutSuffix(line, []byte("\r\n"))
		if !whole || len(line) > 998 || len(bytes.TrimRight(line, " \t")) < len(line) {
			return false
		}
		for _, c := range line {
			if c >= 0x7f || c < ' ' && c != '\t' {
				return false
			}
		}
	}
	return true
}

func appendFields(b []byte, h mimeHeader) []byte {
	for _, f := range h {
		if len(f[0]) > 8 && strings.EqualFold(f[0][:8], "Content-") {
			b = append(b, f[0]+": "+strings.TrimLeft(f[1], " \t")+"\r\n"...)
		}
	}
	return b
}

// readText returns a text's octets, decoded, without the files within it.
func (j *detaching) readText(n *node, files []embedded) ([]byte, error) {
	var out []byte
	at := n.body
	for _, e := range append(slices.Clone(files), embedded{start: n.end}) {
		r, err := section(j.d.Body, at, e.start)
		if err != nil {
			return nil, fmt.Errorf("read the draft: %w", err)
		}
		if dec, ok := decoder(n.header.get("Content-Transfer-Encoding"), r); ok {
			r = dec
		}
		b, err := io.ReadAll(io.LimitReader(r, j.dt.Store.cfg.MaxArticle+1-int64(len(out))))
		if err != nil {
			return nil, &Refused{TooLarge: true, Text: "the text's transfer encoding is broken: " + err.Error(), Err: err}
		}
		if out = append(out, b...); int64(len(out)) > j.dt.Store.cfg.MaxArticle {
			return nil, j.tooLarge()
		}
		at = e.end
	}
	return out, nil
}

// withoutFiles returns a later text part without the files that were in it.
func (j *detaching) withoutFiles(p pick) ([]byte, error) {
	body, err := j.readText(p.n, p.in)
	if err != nil {
		return nil, err
	}
	return textPart(slices.Clone(p.n.header), body), nil
}

// replace puts parts in the place of n. More than one, or a root, become a
// multipart/mixed.
func (j *detaching) replace(n *node, parts [][]byte) {
	if n.parent == nil {
		if len(parts) == 1 {
			j.rootPart(n, parts[0])
			return
		}
		boundary := j.boundary()
		j.setRoot("multipart/mixed; boundary=\"" + boundary + "\"")
		j.edits = append(j.edits, edit{n.body, n.end, joinParts(boundary, parts)})
		return
	}
	with := parts[0]
	if len(parts) > 1 {
		boundary := j.boundary()
		with = append([]byte("Content-Type: multipart/mixed; boundary=\""+boundary+"\"\r\n\r\n"), joinParts(boundary, parts)...)
	}
	j.edits = append(j.edits, edit{n.head, n.end, with})
}

// rootPart makes a part the article's own body: its fields go to the header.
func (j *detaching) rootPart(n *node, part []byte) {
	head, body, _ := bytes.Cut(part, []byte("\r\n\r\n"))
	h := slices.Clone(j.d.Header)
	for _, f := range parseMIMEHeader(head) {
		h = setField(h, f[0], f[1])
	}
	j.head = h
	j.needVersion()
	j.edits = append(j.edits, edit{n.body, n.end, append(body, "\r\n"...)})
}

// setRoot gives the article a new Content-Type; its old Content fields went into a part.
func (j *detaching) setRoot(contentType string) {
	j.head = nil
	for _, f := range j.d.Header {
		if len(f[0]) > 8 && strings.EqualFold(f[0][:8], "Content-") {
			continue
		}
		j.head = append(j.head, f)
	}
	j.head = append(j.head, [2]string{"Content-Type", contentType})
	j.needVersion()
}

func (j *detaching) needVersion() {
	if mimeHeader(j.head).get("MIME-Version") == "" {
		j.head = append(j.head, [2]string{"MIME-Version", "1.0"})
	}
}

// wrap puts a multipart that may not be changed (signed, related, ...) and a new
// text into a multipart/mixed.
func (j *detaching) wrap(root *node) {
	boundary := j.boundary()
	old := appendFields(nil, j.d.Header)
	j.setRoot("multipart/mixed; boundary=\"" + boundary + "\"")
	front := append([]byte("--"+boundary+"\r\n"), j.newText()...)
	front = append(append(front, "\r\n--"+boundary+"\r\n"...), append(old, "\r\n"...)...)
	j.edits = append(j.edits, edit{0, 0, front}, edit{j.size, j.size, []byte("\r\n--" + boundary + "--\r\n")})
}

func joinParts(boundary string, parts [][]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(append(append(b, "--"+boundary+"\r\n"...), p...), "\r\n"...)
	}
	return append(b, "--"+boundary+"--\r\n"...)
}

func (j *detaching) boundary() string {
	src := j.dt.Rand
	if src == nil {
		src = rand.Reader
	}
	var b [12]byte
	_, _ = io.ReadFull(src, b[:]) // crypto/rand does not fail
	return "=_" + hex.EncodeToString(b[:])
}

// build writes the new body: the old one with the edits in place.
func (j *detaching) build() ([]byte, error) {
	slices.SortStableFunc(j.edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	limit := j.dt.Store.cfg.MaxArticle
	var out bytes.Buffer
	at := int64(0)
	for _, e := range append(j.edits, edit{start: j.size, end: j.size}) {
		if at < e.start {
			r, err := section(j.d.Body, at, e.start)
			if err != nil {
				return nil, fmt.Errorf("read the draft: %w", err)
			}
			if _, err := io.Copy(&out, io.LimitReader(r, limit+1-int64(out.Len()))); err != nil {
				return nil, fmt.Errorf("read the draft: %w", err)
			}
		}
		out.Write(e.with)
		if int64(out.Len()) > limit {
			return nil, j.tooLarge()
		}
		at = e.end
	}
	return out.Bytes(), nil
}
