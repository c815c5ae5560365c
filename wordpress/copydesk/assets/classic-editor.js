/** The panel below the title in the classic editor. Not a meta box: one of those makes every save two. */
( function ( wp, copydesk, $ ) {
	const { createElement: el, Fragment } = wp.element;

	/** The form sends all it holds: what was decided goes into it, or "Update" would bring the old words back. */
	function onChange( fields ) {
		Object.keys( fields ).forEach( ( name ) => {
			const { value, terms } = fields[ name ];
			if ( name === 'title' || name === 'excerpt' ) {
				$( '#' + name ).val( value ).trigger( 'change' );
			}
			if ( name === 'title' ) {
				$( '#title-prompt-text' ).toggleClass( 'screen-reader-text', value !== '' );
			}
			if ( name === 'tags' && window.tagBox ) {
				$( '#post_tag .the-tags' ).val( value.join( ( window.tagsSuggestL10n || {} ).tagDelimiter || ',' ) );
				window.tagBox.quickClicks( $( '#post_tag' ) );
			}
			if ( name === 'categories' ) {
				$( '#categorychecklist input' ).each( function () {
					this.checked = terms.includes( Number( this.value ) );
				} );
			}
		} );
	}

	function Box( { postId } ) {
		const source = copydesk.useFeed( postId );
		return el(
			Fragment,
			null,
			el( 'h2', null, copydesk.title( source.count ) ),
			el( copydesk.Panel, { source, onChange } )
		);
	}

	wp.domReady( () => {
		const place = document.getElementById( 'copydesk-classic' );
		const box = el( Box, { postId: Number( place.dataset.post ) } );
		// WordPress before 6.2 brings React 17.
		if ( wp.element.createRoot ) {
			wp.element.createRoot( place ).render( box );
		} else {
			wp.element.render( box, place );
		}
	} );
} )( window.wp, window.copydesk, window.jQuery );
