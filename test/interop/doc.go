// Package interop holds the tests with foreign programs: newsreaders, feeders
// and servers as Debian packages them (test/packages.txt), built with the tag
// "interop". A test skips, naming the package, where its program is missing.
package interop
