import pytest

from jaxseg.data import class_names
from jaxseg.errors import UserError


def test_a_line_is_a_class(tmp_path):
    (tmp_path / "classes.txt").write_text("\ufeffsky\r\nblue car \nroad\n\n", encoding="utf-8")
    assert class_names(tmp_path / "classes.txt") == ("sky", "blue car", "road")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb", "line 2 is blank"),
        ("a\nb\na\n", "a stands twice"),
        ("\n", "is empty"),
        ("\xff", "no readable file"),
        (None, "no readable file of class names"),
    ],
)
def test_a_file_that_names_no_classes_is_refused(tmp_path, text, message):
    path = tmp_path / "classes.txt"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message) as caught:
        class_names(path)
    assert str(path) in str(caught.value)
