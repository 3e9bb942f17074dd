package api

import (
	"path"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// names gives each type its name in the document: the type's own, with its package's
// before it where another package's type has that name already or it is View, which says
// nothing. It relies on routes being added in the same order at every start.
func names() func(t reflect.Type, hint string) string {
	owners := map[string]reflect.Type{}
	return func(t reflect.Type, hint string) string {
		name := huma.DefaultSchemaNamer(t, hint)
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t.PkgPath() == "" {
			return name
		}
		if owner, ok := owners[name]; ok && owner != t || name == "View" {
			pkg := path.Base(t.PkgPath())
			name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
		}
		owners[name] = t
		return name
	}
}
