package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/feeds/batch"
)

// maxText bounds one article of an archive: octets. What the node takes is
// decided there; this only keeps a broken archive from filling the memory.
const maxText = 64 << 20

// archive reads articles out of files and folders of every kind people keep.
type archive struct {
	// each is called with every article as it stands in the file: LF or CRLF, no
	// dot stuffing. label says where it was found. An error ends the reading.
	each func(label string, text []byte) error
	// skip is told what was passed over because it is no article.
	skip func(label, why string)
	// read, if set, is told how many octets of a plain file have been read.
	read func(n int)
	// in is what the name "-" means.
	in io.Reader
}

// path reads a file, or a folder with all in it.
func (a *archive) path(name string) error {
	if name == "-" {
		return a.stream("standard input", &counted{a.in, a.read}, true)
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return a.dir(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.stream(name, &counted{f, a.read}, true); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

type counted struct {
	r    io.Reader
	tell func(n int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.tell != nil {
		c.tell(n)
	}
	return n, err
}

// dir reads a maildir (cur and new), an MH folder or a tradspool: files whose
// names are numbers, in their order. Other files are read if they are archives.
func (a *archive) dir(name string) error {
	entries, err := os.ReadDir(name)
	if err != nil {
		return err
	}
	sort.SliceStable(entries, func(i, j int) bool {
		m, err1 := strconv.ParseUint(entries[i].Name(), 10, 64)
		n, err2 := strconv.ParseUint(entries[j].Name(), 10, 64)
		return err1 == nil && err2 == nil && m < n
	})
	base := filepath.Base(name)
	for _, e := range entries {
		path := filepath.Join(name, e.Name())
		switch {
		case e.IsDir():
			if e.Name() == "tmp" && base != "tmp" && isMaildir(name) {
				continue // deliveries that were not finished
			}
			err = a.dir(path)
		case !e.Type().IsRegular(), strings.HasPrefix(e.Name(), "."):
			continue
		default:
			err = a.path(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func isMaildir(name string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(name, sub)); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// stream tells by its first octets what r holds. outer: it may be packed.
func (a *archive) stream(label string, r io.Reader, outer bool) error {
	in := bufio.NewReaderSize(r, 64<<10)
	if outer {
		var err error
		if in, err = batch.Unpack(in); err != nil {
			return err
		}
	}
	head, err := in.Peek(512)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case len(head) == 0:
		a.skip(label, "empty")
		return nil
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return a.tar(label, in)
	case bytes.HasPrefix(head, []byte("#! rnews ")):
		return a.rnews(label, in)
	case bytes.HasPrefix(head, []byte("From ")):
		return a.mbox(label, in)
	case !article.BeginsField(head):
		a.skip(label, "no article: its first line is no header field")
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err != nil {
		return err
	}
	if len(text) > maxText {
		a.skip(label, "over 64 MiB")
		return nil
	}
	return a.each(label, text)
}

func (a *archive) tar(label string, r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := a.stream(h.Name, t, false); err != nil {
			return err
		}
	}
}

func (a *archive) rnews(label string, r io.Reader) error {
	b, err := batch.NewReader(r)
	if err != nil {
		return err
	}
	b.Max = maxText
	for {
		text, err := b.Next()
		var bad *batch.ArticleError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &bad):
			a.skip(label, bad.Error())
			continue
		case err != nil:
			return err
		}
		if err := a.each(fmt.Sprintf("%s at octet %d", label, b.Offset()), text); err != nil {
			return err
		}
	}
}

// mbox splits at "From " lines that follow an empty line and come before a
// header field, and undoes the quoting of mboxrd (">From " in bodies).
func (a *archive) mbox(label string, r *bufio.Reader) error {
	var text []byte
	number, blank, large := 0, true, false
	give := func() error {
		if number == 0 {
			return nil
		}
		name := fmt.Sprintf("%s, message %d", label, number)
		if large {
			a.skip(name, "over 64 MiB")
			return nil
		}
		return a.each(name, trimBlank(text))
	}
	for {
		line, err := readLine(r)
		if err != nil && err != io.EOF {
			return err
		}
		if blank && bytes.HasPrefix(line, []byte("From ")) && nextIsHeader(r) {
			if err := give(); err != nil {
				return err
			}
			number, text, large, blank = number+1, nil, false, false
			continue
		}
		blank = len(bytes.TrimRight(line, "\r\n")) == 0
		if large = large || len(text) > maxText; !large {
			text = append(text, unquoteFrom(line)...)
		}
		if err == io.EOF {
			return give()
		}
	}
}

// readLine is ReadBytes('\n') without keeping more than maxText.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line) <= maxText {
			line = append(line, part...)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func nextIsHeader(r *bufio.Reader) bool {
	next, _ := r.Peek(80)
	return article.BeginsField(next) || bytes.HasPrefix(next, []byte(">From "))
}

func unquoteFrom(line []byte) []byte {
	if n := len(line) - len(bytes.TrimLeft(line, ">")); n > 0 && bytes.HasPrefix(line[n:], []byte("From ")) {
		return line[1:]
	}
	return line
}

// trimBlank drops the one empty line that mbox puts behind each message.
func trimBlank(text []byte) []byte {
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if bytes.HasSuffix(text, []byte(end)) {
			return text[:len(text)-len(end)/2]
		}
	}
	return text
}

// plainSize is how many octets of files lie under the names, for a progress bar.
func plainSize(names []string) int64 {
	var sum int64
	for _, name := range names {
		_ = filepath.WalkDir(name, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					sum += info.Size()
				}
			}
			return nil
		})
	}
	return sum
}
