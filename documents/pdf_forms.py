"""What somebody filled into the fields of a PDF form: a page's own text does not hold it."""

from __future__ import annotations

import ctypes
from typing import Any

LONGEST = 2**20  # characters of one field's value that are read


class Form:
    """The fields of a document; made before any page is loaded. Scripts in it are not run.

    Attributes:
        unreadable: There are fields, and nobody can say what they hold.
    """

    def __init__(self, document: Any) -> None:
        from pypdfium2 import PdfiumError
        from pypdfium2.raw import FORMTYPE_ACRO_FORM, FORMTYPE_NONE

        kind = document.get_formtype()
        self.unreadable = kind not in (FORMTYPE_NONE, FORMTYPE_ACRO_FORM)  # XFA: a form within the form
        try:
            if kind == FORMTYPE_ACRO_FORM:
                document.init_forms()
        except PdfiumError:
            self.unreadable = True
        self.handle = document.formenv
        self.read: set[str] = set()  # names: a field may show in several places, also on several pages

    def filled_in(self, page: Any) -> list[str]:
        """The values of a page's text fields and choices, in the order of the file, without those read before."""
        import pypdfium2.raw as pdfium

        if self.handle is None:
            return []
        written = (pdfium.FPDF_FORMFIELD_TEXTFIELD, pdfium.FPDF_FORMFIELD_COMBOBOX, pdfium.FPDF_FORMFIELD_LISTBOX)
        values: list[str] = []
        for index in range(pdfium.FPDFPage_GetAnnotCount(page)):
            annotation = pdfium.FPDFPage_GetAnnot(page, index)
            if not annotation:
                continue
            try:
                if pdfium.FPDFAnnot_GetFormFieldType(self.handle, annotation) in written:
                    name = self._text(pdfium.FPDFAnnot_GetFormFieldName, annotation)
                    if not name or name not in self.read:
                        values.append(self._text(pdfium.FPDFAnnot_GetFormFieldValue, annotation))
                    self.read.add(name)
            finally:
                pdfium.FPDFPage_CloseAnnot(annotation)
        return [value for value in values if value.strip()]

    def _text(self, ask: Any, annotation: Any) -> str:
        """What a function of PDFium says of a field; it gives the size in bytes with a null at the end, then the text."""
        size = ask(self.handle, annotation, None, 0)
        if not 2 < size <= 2 * LONGEST:
            return ""
        buffer = (ctypes.c_ushort * (size // 2))()
        ask(self.handle, annotation, buffer, size)
        return bytes(buffer).decode("utf-16-le", errors="replace").rstrip("\0")
