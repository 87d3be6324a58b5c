package smtpd

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"

	"github.com/litfass/litfass/article/content"
)

// maxLine is what agents accept of us: RFC 5536 §2.2, without CRLF.
const maxLine = 998

// maxHTML is how much of an HTML body is turned into text, in octets.
const maxHTML = 1 << 20

// survey is the first walk over a mail: what has to be changed before it is fit
// to be an article.
type survey struct {
	leaves []*part
	long   map[int]bool // leaves with a line over maxLine
	text   bool         // there is a text/plain to be read
	html   int          // the first text/html to be read, or -1
	junk   bool         // an over-long line stands between the parts or in their header
	col    int
}

func (s *survey) raw(line []byte) error {
	s.junk = s.junk || len(line) > maxLine+2
	s.col = 0
	return nil
}

func (s *survey) begin(p *part) error {
	s.col = 0
	s.junk = s.junk || p.depth > 0 && longField(p.header)
	if p.index < 0 || p.inner {
		return nil
	}
	s.leaves = append(s.leaves, p)
	switch {
	case p.attached():
	case p.kind == "text/plain":
		s.text = true
	case p.kind == "text/html" && s.html < 0:
		s.html = p.index
	}
	return nil
}

// longField says whether a header has a line over maxLine.
func longField(header [][2]string) bool {
	for _, f := range header {
		if len(f[0])+len(f[1]) < maxLine-2 {
			continue
		}
		for i, line := range strings.Split(f[1], "\r\n") {
			if i == 0 && len(f[0])+2+len(line) > maxLine || len(line) > maxLine {
				return true
			}
		}
	}
	return false
}

func (s *survey) data(p *part, piece []byte, eol bool) error {
	if s.col += len(piece); s.col > maxLine+2 {
		s.long[p.index] = true
	}
	if eol {
		s.col = 0
	}
	return nil
}

func (s *survey) end(*part) error { return nil }

// surveyMail walks over the body once.
func surveyMail(body io.ReadSeeker, header [][2]string) (*survey, error) {
	s := &survey{long: map[int]bool{}, html: -1}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return s, walkMail(body, header, true, s)
}

// charset is that of the first text, or "".
func (s *survey) charset() string {
	for _, p := range s.leaves {
		if c := p.params["charset"]; c != "" && strings.HasPrefix(p.kind, "text/") {
			return c
		}
	}
	return ""
}

// sound says whether the mail may stay as it is.
func (s *survey) sound() bool { return len(s.long) == 0 && !s.junk && (s.text || s.html < 0) }

// rewriter is the second walk: leaves with long lines are encoded anew, and a mail
// of HTML alone gets its text beside it.
type rewriter struct {
	survey  *survey
	toText  func(html string, charset string) string
	w       io.Writer
	top     [][2]string // the header that the mail ends up with
	encoder io.WriteCloser
	decoder *decodePipe
	page    *bytes.Buffer // the HTML leaf, while it is gathered
}

// rewriteMail writes a changed body to w and returns the changed header.
func rewriteMail(body io.ReadSeeker, header [][2]string, s *survey, toText func(html, charset string) string, w io.Writer) ([][2]string, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	rw := &rewriter{survey: s, toText: toText, w: w, top: header}
	if err := walkMail(body, header, true, rw); err != nil {
		return nil, err
	}
	return rw.top, nil
}

func (rw *rewriter) raw(line []byte) error {
	if len(line) > maxLine+2 { // what nobody is shown: RFC 2046 §5.1.1
		return nil
	}
	_, err := rw.w.Write(line)
	return err
}

func (rw *rewriter) begin(p *part) error {
	if !rw.survey.text && p.index >= 0 && p.index == rw.survey.html {
		rw.page = new(bytes.Buffer)
		return nil // its header is written at its end
	}
	if p.index >= 0 && rw.survey.long[p.index] {
		rw.recode(p)
	}
	return rw.head(p, p.header)
}

// head writes the header of a part; the mail's own goes back to the caller.
func (rw *rewriter) head(p *part, header [][2]string) error {
	if p.depth == 0 {
		rw.top = header
		return nil
	}
	return writeHeader(rw.w, header)
}

func writeHeader(w io.Writer, header [][2]string) error {
	for _, f := range header {
		if _, err := fmt.Fprintf(w, "%s: %s\r\n", f[0], shorten(f[1])); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\r\n")
	return err
}

// recode chooses an encoding for a leaf whose lines are too long, and changes its
// header. What is base64 or quoted-printable already is decoded first.
func (rw *rewriter) recode(p *part) {
	coding := "quoted-printable"
	switch {
	case p.coding == "base64" || p.coding != "quoted-printable" && !strings.HasPrefix(p.kind, "text/"):
		coding = "base64"
		rw.encoder = content.NewBase64(rw.w)
	default:
		rw.encoder = quotedprintable.NewWriter(rw.w)
	}
	if p.coding == "base64" || p.coding == "quoted-printable" {
		rw.decoder = newDecodePipe(p.coding, rw.encoder)
	}
	p.header = setField(p.header, "Content-Transfer-Encoding", coding)
}

func setField(header [][2]string, name, value string) [][2]string {
	out := make([][2]string, 0, len(header)+1)
	for _, f := range header {
		if !strings.EqualFold(f[0], name) {
			out = append(out, f)
		}
	}
	return append(out, [2]string{name, value})
}

func (rw *rewriter) data(p *part, piece []byte, _ bool) error {
	w := rw.w
	switch {
	case rw.page != nil:
		w = rw.page
	case rw.decoder != nil:
		w = rw.decoder
	case rw.encoder != nil:
		w = rw.encoder
	}
	_, err := w.Write(piece)
	return err
}

func (rw *rewriter) end(p *part) error {
	if rw.page != nil {
		page := rw.page
		rw.page = nil
		return rw.alternative(p, page.Bytes())
	}
	if rw.decoder != nil {
		if err := rw.decoder.Close(); err != nil {
			return err
		}
		rw.decoder = nil
	}
	if rw.encoder != nil {
		err := rw.encoder.Close()
		if _, ended := rw.encoder.(*content.Base64); err == nil && !ended {
			_, err = io.WriteString(rw.w, "\r\n") // the next delimiter begins a line
		}
		rw.encoder = nil
		return err
	}
	return nil
}

// alternative writes an HTML leaf as text and HTML: RFC 2046 §5.1.4.
func (rw *rewriter) alternative(p *part, page []byte) error {
	sum := sha256.Sum256(page)
	boundary := "=_alt" + hex.EncodeToString(sum[:12])
	var outer, inner [][2]string
	for _, f := range p.header {
		switch name := strings.ToLower(f[0]); {
		case strings.HasPrefix(name, "content-"):
			inner = append(inner, f)
		default:
			outer = append(outer, f)
		}
	}
	if p.depth > 0 {
		outer = nil
	}
	outer = setField(outer, "Content-Type", "multipart/alternative;\r\n boundary=\""+boundary+"\"")
	if p.depth == 0 {
		outer = setField(outer, "MIME-Version", "1.0")
	}
	if err := rw.head(p, outer); err != nil {
		return err
	}
	html := decodeAll(p.coding, page)
	text := rw.toText(string(html[:min(len(html), maxHTML)]), p.params["charset"])
	if _, err := fmt.Fprintf(rw.w, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", boundary); err != nil {
		return err
	}
	q := quotedprintable.NewWriter(rw.w)
	if _, err := io.WriteString(q, strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")); err != nil {
		return err
	}
	if err := q.Close(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(rw.w, "\r\n--%s\r\n", boundary); err != nil {
		return err
	}
	if err := rw.htmlPart(p, inner, page, html); err != nil {
		return err
	}
	_, err := fmt.Fprintf(rw.w, "\r\n--%s--\r\n", boundary)
	return err
}

func (rw *rewriter) htmlPart(p *part, header [][2]string, page, decoded []byte) error {
	if !rw.survey.long[p.index] {
		if err := writeHeader(rw.w, header); err != nil {
			return err
		}
		_, err := rw.w.Write(page)
		return err
	}
	if err := writeHeader(rw.w, setField(header, "Content-Transfer-Encoding", "quoted-printable")); err != nil {
		return err
	}
	q := quotedprintable.NewWriter(rw.w)
	if _, err := q.Write(decoded); err != nil {
		return err
	}
	return q.Close()
}

// decodeAll undoes a transfer encoding as far as it goes.
func decodeAll(coding string, b []byte) []byte {
	if coding != "base64" && coding != "quoted-printable" {
		return b
	}
	var out bytes.Buffer
	d := newDecodePipe(coding, &out)
	_, _ = d.Write(b)
	_ = d.Close() // what cannot be decoded is left out
	return out.Bytes()
}

// decodePipe decodes what is written to it into w, in a goroutine that Close
// waits for.
type decodePipe struct {
	pw   *io.PipeWriter
	done chan error
}

func newDecodePipe(coding string, w io.Writer) *decodePipe {
	pr, pw := io.Pipe()
	d := &decodePipe{pw: pw, done: make(chan error, 1)}
	go func() {
		var r io.Reader = quotedprintable.NewReader(pr)
		if coding == "base64" {
			r = base64.NewDecoder(base64.RawStdEncoding, &onlyBase64{r: pr})
		}
		_, err := io.Copy(w, r)
		_, drain := io.Copy(io.Discard, pr) // after a fault in the encoding: let the writer go on
		if err == nil {
			err = drain
		}
		d.done <- err
	}()
	return d
}

func (d *decodePipe) Write(p []byte) (int, error) { return d.pw.Write(p) }

// Close ends the input. A fault in the encoding is not an error: what came before
// it stands.
func (d *decodePipe) Close() error {
	d.pw.Close()
	<-d.done
	return nil
}

// onlyBase64 is content.Base64Only as a reader.
type onlyBase64 struct {
	r    io.Reader
	only content.Base64Only
}

func (o *onlyBase64) Read(p []byte) (int, error) {
	for {
		n, err := o.r.Read(p)
		if k := len(o.only.Append(p[:0], p[:n])); k > 0 {
			return k, nil
		}
		if o.only.Ended {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
	}
}
