package syndicate

import (
	"encoding/base64"
	"io"
)

// base64Lines copies r to w as base64 in lines of 76 octets with CRLF.
func base64Lines(w io.Writer, r io.Reader) error {
	lines := &lineWriter{w: w}
	enc := base64.NewEncoder(base64.StdEncoding, lines)
	if _, err := io.Copy(enc, r); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	return lines.end()
}

type lineWriter struct {
	w   io.Writer
	col int
}

func (l *lineWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		n := min(76-l.col, len(p))
		if _, err := l.w.Write(p[:n]); err != nil {
			return done, err
		}
		p, done = p[n:], done+n
		if l.col += n; l.col == 76 {
			if err := l.end(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

func (l *lineWriter) end() error {
	if l.col == 0 {
		return nil
	}
	l.col = 0
	_, err := io.WriteString(l.w, "\r\n")
	return err
}
