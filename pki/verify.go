package pki

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/litfass/litfass/article"
)

// Report is all that an article's signatures say.
type Report struct {
	Proof  article.Proof
	Author *Field // the author's field, or nil
	Input  []byte // its signing input
	Err    error  // why the article is invalid, or nil
}

// Verify says what an article's signatures say and whether they hold (§2.7,
// without what depends on statements and clocks). The error says why a Proof is
// article.ProofInvalid, in words fit for its sender; it is nil otherwise.
func Verify(a *article.Article) (article.Proof, error) {
	r := Examine(a)
	return r.Proof, r.Err
}

// Examine is Verify that also gives the author's field.
func Examine(a *article.Article) Report { return examineKnowing(a, nil) }

// examineKnowing is Examine where holds, if it is not nil, may know that the author's
// signature holds.
func examineKnowing(a *article.Article, holds func(signature) bool) Report {
	h, bound := BoundKey(a.ID())
	if !a.Has(article.HasSignature) && !bound {
		return Report{}
	}
	r, err := examine(a, holds)
	if err == nil && bound && (r.Author == nil || boundHash(r.Author.Key) != h) {
		err = errors.New("the Message-ID promises a signature that this copy lacks")
	}
	if err != nil {
		r.Proof.State, r.Err = article.ProofInvalid, err
	}
	return r
}

// examine goes from the cheapest check to the dearest.
func examine(a *article.Article, holds func(signature) bool) (Report, error) {
	var r Report
	h, fields, err := signedHeader(a)
	if err != nil {
		return r, err
	}
	for _, f := range fields {
		if f.Purpose == UseApprove {
			continue
		}
		if r.Author != nil {
			return r, errors.New("the article has two author's signatures")
		}
		r.Author = f
		r.Proof = article.Proof{State: article.ProofInvalid, Purpose: f.Purpose, Identity: f.Identity.String(), Key: f.Key, Time: f.Time, Q: f.Q}
	}
	if len(fields) == 0 {
		return r, nil
	}
	if err := h.check(); err != nil {
		return r, err
	}
	if f := r.Author; f != nil && (h.value[sControl] != nil) != (f.Purpose == UseControl) {
		return r, errors.New("the field Control goes with a signature for control and nothing else")
	}
	bh := BodyHash(a.Body())
	if err := r.checkAuthor(h, bh, holds); err != nil {
		return r, err
	}
	r.checkApprovals(h, bh, fields)
	return r, nil
}

func (r *Report) checkAuthor(h *header, bh Digest, holds func(signature) bool) error {
	f := r.Author
	if f == nil {
		return nil
	}
	r.Input = h.input(f, f.covered)
	r.Proof.Digest = sha256.Sum256(r.Input)
	if bh != f.BH {
		return errors.New("the body was changed after it was signed")
	}
	known := holds != nil && holds(signature{r.Proof.Digest, f.Key, f.B})
	if !known && !verifies(f.Key, message(r.Proof.Digest), f.B) {
		return errors.New("the signature does not hold: a signed field was changed, or it was made with another key")
	}
	r.Proof.State = article.ProofHolds
	return nil
}

// checkApprovals keeps the good approve fields; bad ones count as absent (§2.1).
func (r *Report) checkApprovals(h *header, bh Digest, fields []*Field) {
	for _, f := range fields {
		if f.Purpose != UseApprove || bh != f.BH || h.checkField(sApproved) != nil || h.value[sApproved] == nil {
			continue
		}
		if (r.Author == nil) != (f.O == nil) || f.O != nil && *f.O != Digest(r.Proof.Digest) {
			continue
		}
		d := Digest(sha256.Sum256(h.input(f, f.covered)))
		if verifies(f.Key, message(d), f.B) {
			r.Proof.Approve = append(r.Proof.Approve, article.Approval{Identity: f.Identity.String(), Key: f.Key, Time: f.Time})
		}
	}
}

// signedHeader walks the header once. article.Parse has refused NUL, bare CR and
// LF, and lines that are no fields; folds of blanks only are refused here.
func signedHeader(a *article.Article) (*header, []*Field, error) {
	h := &header{}
	var fields []*Field
	seen := 0
	for rest := a.Head(); len(rest) > 0; {
		var f []byte
		f, rest = cutField(rest)
		colon := bytes.IndexByte(f, ':')
		if colon <= 0 {
			return nil, nil, errors.New("a header line is not of the form \"Name: content\"")
		}
		name, value := f[:colon], f[colon+1:]
		if err := checkFolds(value); err != nil {
			return nil, nil, fmt.Errorf("field %s %w", name, err)
		}
		if len(name) != len("Article-Signature") || !bytes.EqualFold(name, []byte("Article-Signature")) {
			h.add(name, value)
			continue
		}
		if seen++; seen > maxFields {
			return nil, nil, fmt.Errorf("more than %d signatures", maxFields)
		}
		field, err := ParseField(value)
		if err == errOtherVersion {
			continue
		} else if err != nil {
			return nil, nil, err
		}
		fields = append(fields, field)
	}
	return h, fields, nil
}

// cutField takes the first field off a header in wire form: with its folds,
// without its final CRLF and the dot that stuffing put in front.
func cutField(b []byte) (field, rest []byte) {
	for n := 0; ; {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			field, rest = b, nil
			break
		}
		if n += i + 1; n == len(b) || b[n] != ' ' && b[n] != '\t' {
			field, rest = b[:n], b[n:]
			break
		}
	}
	return bytes.TrimPrefix(bytes.TrimSuffix(field, []byte("\r\n")), []byte(".")), rest
}

func edKey(pub crypto.PublicKey) (Key, error) {
	k, ok := pub.(ed25519.PublicKey)
	if !ok || len(k) != 32 {
		return Key{}, errors.New("sign: not an Ed25519 key")
	}
	return Key(k), nil
}

// boundMark stands before the hash in the local part of a bound id (§2.8).
const boundMark = ".sig-"

// BoundID makes a Message-ID that promises a signature by k: unique must be 16
// or more letters and digits.
func BoundID(unique string, k Key, host string) article.ID {
	return article.ID("<" + unique + boundMark + boundHash(k) + "@" + host + ">")
}

func boundHash(k Key) string {
	d := k.Digest()
	return b32.EncodeToString(d[:])[:20]
}

// BoundKey returns the hash of the key by which id promises a signature, and
// whether it promises one.
func BoundKey(id article.ID) (string, bool) {
	left, _, ok := strings.Cut(strings.TrimPrefix(string(id), "<"), "@")
	i := len(left) - 20 - len(boundMark)
	if !ok || i < 0 || left[i:i+len(boundMark)] != boundMark {
		return "", false
	}
	h := left[i+len(boundMark):]
	for _, c := range []byte(h) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return "", false
		}
	}
	return h, true
}
