package content

import (
	"strconv"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// named finds the charset of a label, in lower case: as browsers and IANA know it, else as
// programs spell it who know neither (cp949, win-1251, ISO_8859-2:1987, euc_cn); nil if it
// is none.
func named(label string) encoding.Encoding {
	if enc := registered(label); enc != nil {
		return enc
	}
	dashed := strings.ReplaceAll(label, "_", "-")
	if enc := registered(dashed); enc != nil {
		return enc
	}
	if _, rest, ok := strings.Cut(dashed, "8859"); ok { // a year or a country may stand behind it
		part := strings.TrimLeft(rest, "-:")
		n := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if n < 0 {
			n = len(part)
		}
		return registered("iso-8859-" + part[:n])
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, label)
	if n, err := strconv.Atoi(strings.TrimLeft(plain, "abcdefghijklmnopqrstuvwxyz")); err == nil && isCodePage(plain) {
		return codePage(n)
	}
	return spelled(plain)
}

func registered(label string) encoding.Encoding {
	if enc, err := htmlindex.Get(label); err == nil && enc != encoding.Replacement {
		return enc
	}
	for _, index := range []*ianaindex.Index{ianaindex.MIME, ianaindex.IANA} {
		if enc, err := index.Encoding(label); err == nil && enc != nil && enc != encoding.Replacement {
			return enc
		}
	}
	return nil
}

// isCodePage says whether what stands before the number is what vendors write there.
func isCodePage(plain string) bool {
	switch strings.TrimRight(plain, "0123456789") {
	case "", "cp", "ms", "ibm", "windows", "win", "xcp", "xms", "xmscp", "ansi", "csibm", "oem", "dos", "xwindows", "codepage":
		return true
	}
	return false
}

// codePage are the numbers of IBM and Microsoft.
func codePage(n int) encoding.Encoding {
	switch n {
	case 437:
		return charmap.CodePage437
	case 850:
		return charmap.CodePage850
	case 852:
		return charmap.CodePage852
	case 855:
		return charmap.CodePage855
	case 858:
		return charmap.CodePage858
	case 860:
		return charmap.CodePage860
	case 862:
		return charmap.CodePage862
	case 863:
		return charmap.CodePage863
	case 865:
		return charmap.CodePage865
	case 866:
		return charmap.CodePage866
	case 874:
		return charmap.Windows874
	case 932, 942, 943:
		return japanese.ShiftJIS
	case 936:
		return simplifiedchinese.GBK
	case 949:
		return korean.EUCKR
	case 950:
		return traditionalchinese.Big5
	case 54936:
		return simplifiedchinese.GB18030
	}
	if n >= 1250 && n <= 1258 {
		return registered("windows-" + strconv.Itoa(n))
	}
	return nil
}

// spelled are names without their dashes.
func spelled(plain string) encoding.Encoding {
	switch plain {
	case "eucjp", "ujis":
		return japanese.EUCJP
	case "sjis", "shiftjis", "mskanji", "xsjis":
		return japanese.ShiftJIS
	case "iso2022jp", "iso2022jpms", "cp50220", "cp50221", "jis7", "jis":
		return japanese.ISO2022JP
	case "euckr", "uhc", "ksc5601", "ksc56011987", "ksx1001", "korean":
		return korean.EUCKR
	case "euccn", "eucgb2312cn", "gb231280", "gb23121980", "cngb", "xgbk":
		return simplifiedchinese.GBK
	case "gb180302000", "gb18030":
		return simplifiedchinese.GB18030
	case "hz", "hzgb", "hzgb2312":
		return simplifiedchinese.HZGB2312
	case "big5hkscs", "hkscs", "big5tw", "cnbig5", "xbig5":
		return traditionalchinese.Big5
	case "tis620", "tis6200", "tis62025290", "tis62025291", "thai":
		return charmap.Windows874
	case "macroman", "xmacroman":
		return charmap.Macintosh
	case "maccyrillic", "xmaccyrillic":
		return charmap.MacintoshCyrillic
	case "koi8r":
		return charmap.KOI8R
	case "koi8u":
		return charmap.KOI8U
	case "latin9", "l9":
		return charmap.ISO8859_15
	case "latin7", "l7":
		return charmap.ISO8859_13
	}
	return nil
}
