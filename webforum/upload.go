package webforum

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/spill"
)

// fields reads a form as it streams in: texts into memory, files into temporary
// files. All of it is at most MaxPost octets and some.
func (v *visitor) fields(c *composed) (map[string]string, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, v.MaxPost+2<<20)
	typ, _, _ := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	out := map[string]string{}
	if typ != "multipart/form-data" {
		if err := v.r.ParseForm(); err != nil {
			return nil, tooLarge(err)
		}
		for k := range v.r.PostForm {
			out[k] = v.r.PostForm.Get(k)
		}
		return out, nil
	}
	mr, err := v.r.MultipartReader()
	if err != nil {
		return nil, errPage(http.StatusBadRequest, "error.form")
	}
	left := v.MaxPost
	for n := 0; n < 100; n++ {
		p, err := mr.NextPart()
		if err == io.EOF {
			return out, nil
		} else if badName(err) {
			return nil, errPage(http.StatusBadRequest, "error.filename")
		} else if err != nil {
			return nil, tooLarge(err)
		}
		if p.FileName() == "" {
			b, err := io.ReadAll(io.LimitReader(p, maxField+1))
			if err != nil {
				return nil, tooLarge(err)
			}
			if len(b) > maxField {
				return nil, errPage(http.StatusRequestEntityTooLarge, "error.large")
			}
			if out[p.FormName()] == "" {
				out[p.FormName()] = strings.ToValidUTF8(string(b), "\uFFFD")
			}
			continue
		}
		if err := v.upload(c, p, &left); err != nil {
			return nil, err
		}
	}
	return nil, errPage(http.StatusBadRequest, "error.form")
}

func (v *visitor) upload(c *composed, p *multipart.Part, left *int64) error {
	if len(c.files) >= maxFiles {
		return errPage(http.StatusRequestEntityTooLarge, "error.large")
	}
	buf := spill.New(v.Temp, 64<<10, *left)
	n, err := io.Copy(buf, p)
	if err != nil || n == 0 {
		buf.Close()
		if errors.Is(err, spill.ErrTooLarge) {
			return errPage(http.StatusRequestEntityTooLarge, "error.large")
		}
		return tooLarge(err)
	}
	*left -= n
	u := upload{name: content.CleanName(p.FileName()), data: buf}
	if u.typ = content.TypeByName(u.name); u.typ == "" {
		u.typ = p.Header.Get("Content-Type")
	}
	t, _, err := mime.ParseMediaType(u.typ)
	if err != nil || strings.HasPrefix(t, "multipart/") || strings.HasPrefix(t, "message/") || len(t) > 100 {
		t = "application/octet-stream"
	}
	u.typ = t
	c.files = append(c.files, u)
	return nil
}

// badName says whether a part was refused for its head, of which only a file's name is
// not the browser's own: browsers send control characters in it as they are.
func badName(err error) bool {
	var head textproto.ProtocolError
	return errors.As(err, &head) && strings.Contains(string(head), "filename=")
}

// tooLarge makes a page of an upload that is too large or broke off.
func tooLarge(err error) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return errPage(http.StatusRequestEntityTooLarge, "error.large")
	}
	return fmt.Errorf("%w (%v)", errPage(http.StatusBadRequest, "error.form"), err)
}
