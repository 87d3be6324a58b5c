package content

import (
	"bytes"
	"strconv"
	"strings"
)

// mayHoldFile is a cheap first look for uuencode and yEnc.
func mayHoldFile(b []byte) bool {
	return bytes.HasPrefix(b, []byte("begin ")) || bytes.Contains(b, []byte("\nbegin ")) ||
		bytes.HasPrefix(b, []byte("=ybegin ")) || bytes.Contains(b, []byte("\n=ybegin "))
}

// extractFiles cuts uuencoded (POSIX) and yEnc files out of a text and returns
// what is left. What is not whole enough to be decoded stays in the text.
func extractFiles(text []byte) (rest []byte, files []*Part) {
	for at := 0; at < len(text); {
		eol := bytes.IndexByte(text[at:], '\n') + 1
		if eol == 0 {
			eol = len(text) - at
		}
		line := text[at : at+eol]
		if len(files) < 100 && (line[0] == 'b' || line[0] == '=') {
			if name, data, n := uudecode(text[at:]); n > 0 {
				files = append(files, fileIn(name, data))
				at += n
				continue
			}
			if name, data, n := ydecode(text[at:]); n > 0 {
				files = append(files, fileIn(name, data))
				at += n
				continue
			}
		}
		rest = append(rest, line...)
		at += eol
	}
	return rest, files
}

func fileIn(name string, data []byte) *Part {
	p := &Part{Name: CleanName(ToUTF8("", []byte(name))), Type: "application/octet-stream", data: data, inText: true}
	if t := TypeByName(p.Name); t != "" {
		p.Type = t
	}
	return p
}

func nextLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	return bytes.TrimSuffix(b[:i], []byte("\r")), b[i+1:]
}

// uudecode reads "begin MODE NAME" to "end" at the start of b and returns the
// octets used, 0 if that is not what stands there.
func uudecode(b []byte) (name string, data []byte, n int) {
	line, rest := nextLine(b)
	f := strings.SplitN(string(line[:min(len(line), 300)]), " ", 3)
	if len(f) != 3 || f[0] != "begin" || len(f[1]) < 3 || len(f[1]) > 4 || strings.Trim(f[1], "01234567") != "" || strings.TrimSpace(f[2]) == "" {
		return "", nil, 0
	}
	for len(rest) > 0 {
		line, rest = nextLine(rest)
		if string(bytes.TrimSpace(line)) == "end" {
			return f[2], data, len(b) - len(rest)
		}
		if len(line) == 0 {
			continue
		}
		var ok bool
		if data, ok = uuline(data, line); !ok {
			return "", nil, 0
		}
	}
	return "", nil, 0
}

func uuline(dst, line []byte) ([]byte, bool) {
	if line[0] < ' ' || line[0] > '`' {
		return dst, false
	}
	n := int(line[0]-' ') & 63
	want := (n + 2) / 3 * 4
	line = line[1:]
	if len(line) > want+2 { // a checksum may follow
		return dst, false
	}
	var four [4]byte
	for i := 0; i < want; i += 4 {
		for k := range four {
			c := byte(' ')
			if i+k < len(line) {
				c = line[i+k]
			}
			if c < ' ' || c > '`' {
				return dst, false
			}
			four[k] = (c - ' ') & 63
		}
		three := [3]byte{four[0]<<2 | four[1]>>4, four[1]<<4 | four[2]>>2, four[2]<<6 | four[3]}
		dst = append(dst, three[:min(3, n)]...)
		n -= 3
	}
	return dst, true
}

// ydecode reads a yEnc file at the start of b. A part of several is named so.
func ydecode(b []byte) (name string, data []byte, n int) {
	line, rest := nextLine(b)
	if len(line) > 1000 || !bytes.HasPrefix(line, []byte("=ybegin ")) {
		return "", nil, 0
	}
	_, name, ok := strings.Cut(string(line), " name=")
	if !ok {
		return "", nil, 0
	}
	part := 0
	for _, f := range strings.Fields(string(line)) {
		if v, ok := strings.CutPrefix(f, "part="); ok {
			part, _ = strconv.Atoi(v)
		}
	}
	for len(rest) > 0 {
		line, rest = nextLine(rest)
		switch {
		case bytes.HasPrefix(line, []byte("=yend")):
			if part > 0 {
				name = strings.TrimSpace(name) + ".part" + strconv.Itoa(part)
			}
			return strings.TrimSpace(name), data, len(b) - len(rest)
		case bytes.HasPrefix(line, []byte("=ypart ")):
			continue
		case bytes.HasPrefix(line, []byte("=ybegin ")): // the next one; many that never end are not each read to the end
			return "", nil, 0
		}
		for i := 0; i < len(line); i++ {
			c := line[i]
			if c == '=' && i+1 < len(line) {
				i++
				c = line[i] - 64
			}
			data = append(data, c-42)
		}
	}
	return "", nil, 0
}
