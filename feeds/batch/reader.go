package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/litfass/litfass/article"
)

// DefaultMax is the largest article that a Reader hands out if Max is 0: octets.
const DefaultMax = 1 << 20

// maxLine bounds a line between articles: octets.
const maxLine = 4 << 10

// An ArticleError is about one article of a batch; the next call of Next goes on
// behind it. Every other error of Next ends the batch.
type ArticleError struct {
	Offset int64 // where the article, or what should be one, begins
	Why    string
}

func (e *ArticleError) Error() string {
	return fmt.Sprintf("batch, octet %d: %s", e.Offset, e.Why)
}

// Reader reads the articles of a batch, one after the other. It holds one
// article at a time.
type Reader struct {
	Max int // octets of an article as it stands in the batch; 0: DefaultMax

	r      *bufio.Reader
	offset int64 // octets of the (unpacked) batch read so far
	begin  int64 // of the article that Next gave last
	lost   bool  // looking for the next "#! rnews" after something else
	single bool  // it is no batch, but one article
}

// NewReader begins a batch, packed or not: Unpack. The error says why it cannot be unpacked.
// What begins with a header field is one article, as for INN's rnews.
func NewReader(r io.Reader) (*Reader, error) {
	in, err := Unpack(r)
	if err != nil {
		return nil, err
	}
	head, _ := in.Peek(article.MaxName)
	return &Reader{r: in, single: article.BeginsField(head)}, nil
}

// Offset is where the article that Next gave last begins in the batch, in octets.
func (b *Reader) Offset() int64 { return b.begin }

// Next returns the next article as it stands in the batch: line ends as they
// are, no dot stuffing; article.Normalize makes it wire form. It returns io.EOF
// at the end and an *ArticleError for what is no article or too large a one.
func (b *Reader) Next() ([]byte, error) {
	limit := b.Max
	if limit == 0 {
		limit = DefaultMax
	}
	if b.single {
		return b.rest(limit)
	}
	n, err := b.header()
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		skipped, err := io.CopyN(io.Discard, b.r, n)
		b.offset += skipped
		if err != nil {
			return nil, b.cut(n)
		}
		return nil, &ArticleError{b.begin, fmt.Sprintf("article of %d octets, the limit is %d", n, limit)}
	}
	text := make([]byte, n)
	got, err := io.ReadFull(b.r, text)
	b.offset += int64(got)
	if err != nil {
		return nil, b.cut(n)
	}
	return text, nil
}

// rest is all that comes, as one article.
func (b *Reader) rest(limit int) ([]byte, error) {
	b.single = false
	text, err := io.ReadAll(io.LimitReader(b.r, int64(limit)+1))
	if b.offset += int64(len(text)); err != nil {
		return nil, err
	}
	if len(text) > limit {
		b.r.Reset(bytes.NewReader(nil))
		return nil, &ArticleError{0, fmt.Sprintf("article of over %d octets, which is the limit", limit)}
	}
	return text, nil
}

// cut is the error of a batch that ends in the middle of an article.
func (b *Reader) cut(n int64) error {
	return &ArticleError{b.begin, fmt.Sprintf("the batch ends %d octets into an article of %d", b.offset-b.begin, n)}
}

// header reads up to and with the next "#! rnews N" and returns N.
func (b *Reader) header() (int64, error) {
	for {
		at := b.offset
		line, err := b.line()
		if err != nil {
			return 0, err
		}
		if n, ok := size(line); ok {
			b.lost, b.begin = false, b.offset
			return n, nil
		}
		if len(line) == 0 || b.lost {
			continue
		}
		b.lost = true
		return 0, &ArticleError{at, fmt.Sprintf("found %.40q where \"#! rnews SIZE\" should stand; going on at the next one", line)}
	}
}

// line reads one line and returns its first maxLine octets without line end.
func (b *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := b.r.ReadSlice('\n')
		b.offset += int64(len(part))
		if room := maxLine - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			return trimEnd(line), nil // the next call says io.EOF
		case err != nil:
			return nil, err
		}
		return trimEnd(line), nil
	}
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// size reads "#! rnews 1234", and with more words behind, as some write them.
func size(line []byte) (int64, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("#! rnews "))
	if !ok {
		return 0, false
	}
	word, _, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if len(word) == 0 || len(word) > 10 {
		return 0, false
	}
	for _, c := range word {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(word), 10, 64)
	return n, err == nil && n > 0
}
