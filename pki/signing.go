package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
)

// signedNames is set APPROVE in its order; set POST is what follows the first (§2.2).
var signedNames = [...]string{
	"approved",
	"archive", "content-disposition", "content-language", "content-transfer-encoding", "content-type", "control",
	"date", "distribution", "expires", "followup-to", "from", "keywords", "message-id", "mime-version", "newsgroups",
	"references", "reply-to", "subject", "summary", "supersedes",
}

const (
	sApproved     = 0
	sPost         = 1 // set POST begins here
	sControl      = 6
	sDate         = 7
	sDistribution = 8
	sFollowupTo   = 10
	sFrom         = 11
	sMessageID    = 13
	sNewsgroups   = 15
	sSubject      = 18
	nSigned       = len(signedNames)
)

// signedIndex maps a lower-case name to its place in signedNames. It is never changed.
var signedIndex = func() map[string]int {
	m := make(map[string]int, nSigned)
	for i, name := range signedNames {
		m[name] = i
	}
	return m
}()

// header is what a signature needs of an article's header.
type header struct {
	value [nSigned][]byte // raw content, nil if absent
	twice [nSigned]bool
}

// add notes one field of the header; others than those of the set are passed by.
func (h *header) add(name, value []byte) {
	var low [32]byte
	if len(name) > len(low) {
		return
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	i, ok := signedIndex[string(low[:len(name)])]
	if !ok {
		return
	}
	if h.value[i] != nil {
		h.twice[i] = true
	}
	h.value[i] = value
}

// check applies the rules of §2.2 to set POST.
func (h *header) check() error {
	for _, i := range [...]int{sDate, sFrom, sMessageID, sNewsgroups, sSubject} {
		if h.value[i] == nil {
			return fmt.Errorf("field %s, which every signature covers, is missing", signedNames[i])
		}
	}
	for i := sPost; i < nSigned; i++ {
		if err := h.checkField(i); err != nil {
			return err
		}
	}
	for _, i := range [...]int{sNewsgroups, sFollowupTo, sDistribution, sMessageID} {
		if v := h.value[i]; v != nil && bytes.ContainsAny(bytes.Trim(v, " \t"), " \t\r\n") {
			return fmt.Errorf("field %s of a signed article is folded or holds a blank", signedNames[i])
		}
	}
	if _, err := article.ParseID(string(bytes.Trim(h.value[sMessageID], " \t"))); err != nil {
		return err
	}
	return nil
}

// checkField refuses a field of the set that is there twice or empty.
func (h *header) checkField(i int) error {
	if h.twice[i] {
		return fmt.Errorf("field %s of a signed article occurs twice", signedNames[i])
	}
	if v := h.value[i]; v != nil && len(bytes.Trim(v, " \t\r\n")) == 0 {
		return fmt.Errorf("field %s of a signed article is empty", signedNames[i])
	}
	return nil
}

// input writes the signing input for a field (§2.4).
func (h *header) input(f *Field, covered string) []byte {
	out := make([]byte, 0, 1024)
	from := sPost
	if f.Purpose == UseApprove {
		from = sApproved
	}
	for i := from; i < nSigned; i++ {
		out = append(out, signedNames[i]...)
		if v := h.value[i]; v != nil {
			out = appendRelaxed(append(out, ':'), v)
		}
		out = append(out, '\n')
	}
	out = append(append(out, "article-signature:"...), covered...)
	return append(out, '\n')
}

// appendRelaxed appends v unfolded, runs of blanks as one SP, both ends trimmed.
func appendRelaxed(out, v []byte) []byte {
	start := len(out)
	blank := false
	for _, c := range v {
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			blank = true
			continue
		}
		if blank && len(out) > start {
			out = append(out, ' ')
		}
		blank = false
		out = append(out, c)
	}
	return out
}

// message is what Ed25519 signs for an article with that digest (§2.4 (4)).
func message(d Digest) []byte {
	return append([]byte("pki-article-v1\n"), d[:]...)
}

// BodyHash is the body hash of §2.3 over a body's octets, not dot-stuffed; line
// ends may be LF or CRLF.
func BodyHash(body []byte) Digest {
	if bare := bytes.Count(body, []byte("\n")) - bytes.Count(body, []byte("\r\n")); bare > 0 {
		body = toCRLF(body, bare)
	}
	n := len(body)
	for n >= 2 && body[n-2] == '\r' && body[n-1] == '\n' {
		n -= 2
	}
	if n == 0 {
		return sha256.Sum256(nil)
	}
	if n+2 <= len(body) {
		return sha256.Sum256(body[:n+2])
	}
	h := sha256.New()
	h.Write(body)
	h.Write([]byte("\r\n"))
	return Digest(h.Sum(nil))
}

func toCRLF(body []byte, more int) []byte {
	out := make([]byte, 0, len(body)+more)
	for i, c := range body {
		if c == '\n' && (i == 0 || body[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, c)
	}
	return out
}

// bodyHasher computes the body hash of a stream with CRLF line ends, holding
// back line ends until something follows; it refuses what a signer must not sign.
type bodyHasher struct {
	h    hash.Hash
	held int // CRLFs not yet written
	cr   bool
	any  bool
	line int // octets of the line so far
}

var errLongLine = errors.New("a line of the body is longer than 998 octets, which a signed article must not have (RFC 5536 §2.2)")

// write takes the next octets; a CR at their end is kept for the next call.
func (w *bodyHasher) write(p []byte) error {
	if w.cr && len(p) > 0 {
		if p[0] != '\n' {
			return errors.New("the body holds CR without LF")
		}
		w.cr, p, w.line = false, p[1:], 0
		w.held++
	}
	if n := len(p); n > 0 && p[n-1] == '\r' {
		w.cr, p = true, p[:n-1]
	}
	if err := w.checkLines(p); err != nil {
		return err
	}
	n := len(p)
	for n >= 2 && p[n-2] == '\r' && p[n-1] == '\n' {
		n -= 2
	}
	if n > 0 {
		for ; w.held > 0; w.held-- {
			w.h.Write([]byte("\r\n"))
		}
		w.h.Write(p[:n])
		w.any = true
	}
	w.held += (len(p) - n) / 2
	return nil
}

// checkLines refuses NUL, CR or LF alone, and lines over 998 octets.
func (w *bodyHasher) checkLines(p []byte) error {
	if bytes.IndexByte(p, 0) >= 0 {
		return errors.New("the body holds NUL")
	}
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		line := p
		if i >= 0 {
			if i == 0 || p[i-1] != '\r' {
				return errors.New("the body holds LF without CR")
			}
			line, p = p[:i-1], p[i+1:]
		} else {
			p = nil
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return errors.New("the body holds CR without LF")
		}
		if w.line += len(line); w.line > 998 {
			return errLongLine
		}
		if i >= 0 {
			w.line = 0
		}
	}
	return nil
}

func (w *bodyHasher) sum() (Digest, error) {
	if w.cr {
		return Digest{}, errors.New("the body ends with CR without LF")
	}
	if w.any {
		w.h.Write([]byte("\r\n"))
	}
	return Digest(w.h.Sum(nil)), nil
}

// hashBody reads a draft's body from its start.
func hashBody(body article.Body) (Digest, error) {
	if body == nil {
		return sha256.Sum256(nil), nil
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return Digest{}, fmt.Errorf("rewind the body: %w", err)
	}
	w := &bodyHasher{h: sha256.New()}
	buf := make([]byte, 4<<10)
	for {
		n, err := body.Read(buf)
		if werr := w.write(buf[:n]); werr != nil {
			return Digest{}, werr
		}
		if err == io.EOF {
			return w.sum()
		}
		if err != nil {
			return Digest{}, fmt.Errorf("read the body: %w", err)
		}
	}
}

// Stamp says who signs an article, as what, and when.
type Stamp struct {
	Purpose  string        // UsePost, UseControl, UseGate or UseApprove
	Identity ID            // who is spoken for
	Signer   crypto.Signer // an Ed25519 key: ed25519.PrivateKey or one behind an agent
	Time     time.Time
	Q        uint64
	P        *Digest // digest of article Q-1 where the chain is kept, else nil
	N        *Digest // key digest of the next key, in mode chain
}

// Sign adds an Article-Signature field to a draft and returns the digest of what
// was signed. Everything signed (§2.2) must be in its final form: Message-ID and
// Date filled in, attachments detached. It reads the body from its start.
// Errors about the article are *article.SyntaxError.
func Sign(d *article.Draft, s Stamp) (Digest, error) {
	made, err := sign(d, s)
	return made.digest, err
}

func sign(d *article.Draft, s Stamp) (signature, error) {
	key, err := edKey(s.Signer.Public())
	if err != nil {
		return signature{}, err
	}
	h, author, err := draftHeader(d, s.Purpose)
	if err != nil {
		return signature{}, &article.SyntaxError{Why: err.Error()}
	}
	f := &Field{Purpose: s.Purpose, Identity: s.Identity, Key: key, Time: s.Time.Unix(), Q: s.Q, P: s.P, N: s.N}
	if author != nil {
		in := sha256.Sum256(h.input(author, author.covered))
		f.O = (*Digest)(&in)
	}
	if f.BH, err = hashBody(d.Body); err != nil {
		return signature{}, &article.SyntaxError{Why: err.Error()}
	}
	if f.P != nil && f.Q == 0 || f.Time < 0 || f.Q >= 1<<63 {
		return signature{}, errors.New("sign: p with q=0, or a number out of range")
	}
	f.covered = f.cover()
	digest := Digest(sha256.Sum256(h.input(f, f.covered)))
	sig, err := s.Signer.Sign(rand.Reader, message(digest), crypto.Hash(0))
	if err != nil {
		return signature{}, fmt.Errorf("sign: %w", err)
	}
	f.B = [64]byte(sig)
	d.Header = append(d.Header, [2]string{"Article-Signature", f.Value()})
	return signature{digest, f.Key, f.B}, nil
}

// draftHeader collects the signed fields of a draft, and its author's field if
// it is to be approved.
func draftHeader(d *article.Draft, purpose string) (*header, *Field, error) {
	h := &header{}
	var author *Field
	fields := 0
	for _, f := range d.Header {
		if strings.EqualFold(f[0], "Article-Signature") {
			fields++
			old, err := ParseField([]byte(f[1]))
			if err == errOtherVersion {
				continue
			} else if err != nil {
				return nil, nil, err
			}
			if old.Purpose != UseApprove {
				author = old
			}
			continue
		}
		value := []byte(f[1])
		if err := checkFolds(value); err != nil {
			return nil, nil, fmt.Errorf("field %s %w", f[0], err)
		}
		h.add([]byte(f[0]), value)
	}
	if fields >= maxFields {
		return nil, nil, errors.New("there are four signatures already")
	}
	if author != nil && purpose != UseApprove {
		return nil, nil, errors.New("the article is signed already")
	}
	if err := h.check(); err != nil {
		return nil, nil, err
	}
	if purpose == UseApprove {
		if h.value[sApproved] == nil {
			return nil, nil, errors.New("an approval needs the field Approved")
		}
		return h, author, h.checkField(sApproved)
	}
	if (h.value[sControl] != nil) != (purpose == UseControl) {
		return nil, nil, fmt.Errorf("the purpose %q does not fit: field Control goes with control and nothing else", purpose)
	}
	return h, nil, nil
}

// checkFolds refuses folds of blanks only (§2.2, RFC 5536 §2.2).
func checkFolds(v []byte) error {
	for {
		i := bytes.IndexByte(v, '\n')
		if i < 0 {
			return nil
		}
		v = v[i+1:]
		line := v
		if j := bytes.IndexByte(v, '\n'); j >= 0 {
			line = v[:j]
		}
		if len(bytes.Trim(line, " \t\r")) == 0 {
			return errors.New("has a fold of blanks only")
		}
	}
}
