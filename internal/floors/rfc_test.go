package floors

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sections are those of the RFCs of Netnews that ask something of a node. Each
// stands in docs/rfc.tsv, with what shows it.
func sections() map[string]string {
	return map[string]string{
		"2980": "1.1 1.2 1.3 1.4 2.1.2 2.1.3 2.1.4 2.1.5 2.1.6 2.1.7 2.1.8 2.2 2.3 2.4 2.6 2.7 2.8 2.9 2.10 2.11 2.12 3.1.1 3.1.2 3.1.3 3.2 3.3 3.4 4.2 4.3",
		"3977": "3.1 3.1.1 3.2 3.2.1 3.3 3.3.2 3.4.1 3.4.2 3.5 3.6 4.1 4.2 5.1 5.2 5.3 5.4 6.1.1 6.1.2 6.1.3 6.1.4 6.2.1 6.2.2 6.2.3 6.2.4 6.3.1 6.3.2 " +
			"7.1 7.2 7.3 7.4 7.5 7.6.1 7.6.2 7.6.3 7.6.4 7.6.5 7.6.6 8.1.1 8.1.2 8.2 8.3 8.4 8.5 8.6 9.2 9.8 10.2 12.3 12.6",
		"4642": "2.1 2.2.1 2.2.2 4 5",
		"4643": "2.1 2.2 2.3.1 2.3.2 2.4.1 2.4.2 3 4 6",
		"4644": "2.1 2.2 2.3 2.4 2.5 4",
		"5536": "2.1 2.2 2.3 3.1 3.1.1 3.1.2 3.1.3 3.1.4 3.1.5 3.1.6 3.2.1 3.2.2 3.2.3 3.2.4 3.2.5 3.2.6 3.2.7 3.2.8 3.2.9 3.2.10 3.2.11 3.2.12 3.2.13 3.2.14 3.3 4 5",
		"5537": "2 3.1 3.2.1 3.3 3.4 3.4.1 3.4.2 3.4.3 3.4.4 3.5 3.5.1 3.6 3.7 3.8 3.9 3.10 4.1 4.2 4.3 5.1 5.2 5.2.1 5.2.2 5.2.3 5.3 5.4 5.5 5.6 6.1 6.2 6.3",
		"6048": "2.1 2.2 2.3 2.4 2.5 2.6",
		"8054": "2.1 2.2.1 2.2.2 4 6",
		"8143": "2 3 4",
		"8315": "2.1 2.2 3.1 3.2 3.3 3.4 3.5 4 5 6 7",
	}
}

const dialogs = "nntpd/testdata/dialogs"

// row is a line of docs/rfc.tsv; shown and remark may be empty.
type row struct {
	line                                int
	rfc, section, done, files, by, text string
}

func rfcTable(t *testing.T) []row {
	text, err := os.ReadFile(filepath.Join(root, "docs", "rfc.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`^[0-9]+$`)
	var out []row
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) < 4 || len(f) > 6 || !number.MatchString(f[0]) || !slices.Contains([]string{"yes", "partly", "no"}, f[2]) {
			t.Errorf("docs/rfc.tsv:%d: want RFC, section, yes|partly|no, files, and maybe what shows it and a remark, with TABs between", i+1)
			continue
		}
		f = append(f, "", "")
		out = append(out, row{i + 1, f[0], f[1], f[2], f[3], f[4], f[5]})
	}
	return out
}

var testFile = regexp.MustCompile(`(_test\.go|\.txtar)$`)

func there(name string) bool {
	_, err := os.Stat(filepath.Join(root, name))
	return name != "" && err == nil
}

// TestRFCTable: the files that docs/rfc.tsv names are there, and so is what shows
// a section: a dialog, a Go test or a script.
func TestRFCTable(t *testing.T) {
	for _, r := range rfcTable(t) {
		for file := range strings.SplitSeq(r.files, ",") {
			if file, _, _ = strings.Cut(strings.TrimSpace(file), " "); !there(file) && r.done != "no" {
				t.Errorf("docs/rfc.tsv:%d: %s is not there", r.line, file)
			}
		}
		for name := range strings.SplitSeq(r.by, ",") {
			if r.by != "" && !there(filepath.Join(dialogs, name+".txt")) && !(testFile.MatchString(name) && there(name)) {
				t.Errorf("docs/rfc.tsv:%d: %s is neither a dialog nor a test", r.line, name)
			}
		}
	}
}

// TestRFCsWhole: each section of the RFCs of Netnews stands in the table once; what
// is obeyed is shown by something, what is not says why; and no dialog is left over.
func TestRFCsWhole(t *testing.T) {
	have, shown := map[string]int{}, map[string]bool{}
	all := sections()
	for _, r := range rfcTable(t) {
		for name := range strings.SplitSeq(r.by, ",") {
			shown[name] = true
		}
		if all[r.rfc] == "" {
			continue
		}
		have[r.rfc+" "+r.section]++
		switch {
		case !slices.Contains(strings.Fields(all[r.rfc]), r.section):
			t.Errorf("docs/rfc.tsv:%d: RFC %s has no such section that asks anything", r.line, r.rfc)
		case r.done != "no" && r.by == "":
			t.Errorf("docs/rfc.tsv:%d: nothing shows it", r.line)
		case r.done != "yes" && r.text == "":
			t.Errorf("docs/rfc.tsv:%d: no remark says what is missing", r.line)
		}
	}
	for rfc, list := range all {
		for s := range strings.FieldsSeq(list) {
			if have[rfc+" "+s] != 1 {
				t.Errorf("docs/rfc.tsv: RFC %s section %s stands there %d times", rfc, s, have[rfc+" "+s])
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(root, dialogs, "*.txt"))
	if err != nil || len(files) < 100 {
		t.Fatal("no dialogs", err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".txt"); !shown[name] {
			t.Errorf("%s: docs/rfc.tsv does not name it", name)
		}
	}
}
