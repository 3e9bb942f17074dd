package receive

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// Keys are compared by package subtle alone, each of them, whatever was found before:
// the time that it takes says nothing about them. A measurement would be noise, so
// the code itself is looked at.
func TestKeysAreComparedInConstantTime(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "auth.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	subtle, loops := 0, 0
	ast.Inspect(file, func(n ast.Node) bool {
		f, ok := n.(*ast.FuncDecl)
		if !ok || f.Name.Name != "find" {
			return true
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.RangeStmt:
				loops++
			case *ast.IfStmt, *ast.SwitchStmt, *ast.BranchStmt, *ast.BinaryExpr:
				t.Errorf("find has a branch or a comparison of its own at %d", n.Pos())
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "subtle" {
					subtle++
				}
			}
			return true
		})
		return false
	})
	if loops != 1 || subtle != 2 {
		t.Errorf("find has %d loops and %d uses of subtle, want 1 and 2", loops, subtle)
	}
	keys := NewKeys([]string{"first", "second", "third", "second"})
	for key, want := range map[string]int{"first": 0, "second": 3, "third": 2, "": -1, "secon": -1, "secondx": -1, "SECOND": -1} {
		if got := keys.find(key); got != want {
			t.Errorf("%q is found at %d, want %d", key, got, want)
		}
	}
	if got := NewKeys(nil).find(""); got != -1 {
		t.Errorf("an empty set has a key at %d", got)
	}
}
